# Volumes of a pod of one app, and files of variables, as those who know other runners give them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
image=oci:$T/image:v1
mkdir -p "$T/data"
echo text >"$T/data/file"

# Empty ones are the pod's, and end with it.
for options in '' '--userns=auto'; do
  [ -z "$options" ] || grep -q ^containers: /etc/subuid 2>/dev/null || continue
  expect_exit 0 "${run[@]}" $options --mount type=empty,source=scratch,target=/e,mode=0700,uid=33 "$image" \
    sh -c 'echo x >/e/file; ls -ldn /e'
  expect_text '^drwx------ .* 33 ' "$T/out"
done
uuid=$("${run[@]}" -d --mount type=empty,source=scratch,target=/e "$image" sh -c 'echo x >/e/file; sleep 1000')
for _ in $(seq 100); do [ -s "$T/store/pods/$uuid/volumes/scratch/file" ] && break || sleep 0.05; done
[ "$(cat "$T/store/pods/$uuid/volumes/scratch/file")" = x ] || fail "the volume is not the pod's"
gantry run rm -f "$uuid" >/dev/null

# A source that begins with a point is one of this directory; a name is no path.
cd "$T/data"
for source in . ./ ../data; do
  expect_exit 0 "${run[@]}" -v "$source:/x:ro" "$image" cat /x/file
  expect_text '^text$' "$T/out"
done
expect_exit 125 "${run[@]}" -v data:/x "$image" true
expect_text 'no volumes that outlive their pod' "$T/err"
expect_exit 125 "${run[@]}" -v ./none:/x "$image" true
expect_text "none:/x': No such file" "$T/err"

printf 'A=1\n# a comment\n B="as it stands"  \nTAKEN\nABSENT\nC=\nD=e#f\r\n' >"$T/env"
expect_exit 0 env TAKEN=over "${run[@]}" --env-file "$T/env" -e A=2 "$image" env
for line in A=2 'B="as it stands"  ' TAKEN=over C= D=e#f; do
  grep -qxF -- "$line" "$T/out" || fail "no $line: $(cat "$T/out")"
done
! grep -q ABSENT "$T/out" || fail "a variable that nobody has"
for line in '=x' 'export A=1' 'A B'; do
  printf 'A=1\n%s\n' "$line" >"$T/env"
  expect_exit 125 "${run[@]}" --env-file "$T/env" "$image" true
  expect_text 'line 2 does not begin with the name of a variable' "$T/err"
done
