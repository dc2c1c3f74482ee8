# --userns=auto: root of the container is nobody in the host, layers are neither copied nor chowned, and no two pods have
# the same ids.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq unshare
[ "$(id -u)" = 0 ] || skip "root's way"
unshare -U true 2>/dev/null || skip "no user namespaces here"

mkdir -p "$T/base/bin" "$T/base/etc"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id touch chown stat sleep mkdir rm readlink true test; do ln -s busybox "$T/base/bin/$name"; done
echo 'web:x:33:34::/:/bin/sh' >"$T/base/etc/passwd"
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"
image=oci:$T/image:v1
run=(gantry-run -q --insecure-options=image)

# with RANGE SCRIPT: in a mount namespace where the user 'containers' has that range. All of /etc is another there, for a
# file that is mounted over goes when somebody replaces it in the host.
with() {
  printf '%s' "${1:+containers:$1$'\n'}" | tee "$T/etc/subuid" >"$T/etc/subgid"
  unshare -m bash -c 'set -e; mount --bind "$1" /etc; . "$2"' bash "$T/etc" "$2"
}
cp -a /etc "$T/etc"
export T image
declare -p run >"$T/functions"
declare -f fail expect_text expect_exit >>"$T/functions"
cat >"$T/script" <<'SCRIPT'
. "$T/functions"
expect_exit 0 "${run[@]}" --userns=auto "$image" sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id -u
  touch /made; chown 77:78 /made; stat -c "%u:%g %n" /made /bin/sh /etc; rm /bin/cat; test ! -e /bin/cat && echo gone'
expect_text '^ *0 +[0-9]{7,} +65536$' "$T/out"
expect_text '^77:78 /made$' "$T/out"
expect_text '^0:0 /bin/sh$' "$T/out"
expect_text '^gone$' "$T/out"
expect_exit 0 "${run[@]}" --userns=auto -u web "$image" id
expect_text 'uid=33\(web\) gid=34' "$T/out"
expect_exit 125 "${run[@]}" --userns=auto:size=2000 -u 3000 "$image" id
expect_text 'not among the ids of the pod' "$T/err"
mkdir -m 0700 "$T/private" && echo mine >"$T/private/file"
expect_exit 0 "${run[@]}" --userns=auto -v "$T/private:/v" --mount type=empty,source=e,target=/e,uid=33 "$image" \
  sh -c 'stat -c "%u %n" /v /e; cat /v/file || echo no'
expect_text '^65534 /v$' "$T/out"
expect_text '^33 /e$' "$T/out"
expect_text '^no$' "$T/out"

# Two at once; nobody is root in the host; enter has the same ids; what the layers hold has not changed.
first=$("${run[@]}" -d --userns=auto "$image" sleep 1000)
second=$("${run[@]}" -d --userns=auto "$image" sleep 1000)
base() { gantry run enter "$1" sh -c 'cat /proc/self/uid_map' | { read -r _ out _; echo "$out"; }; }
a=$(base "$first") b=$(base "$second")
[ $((a > b ? a - b : b - a)) -ge 65536 ] || fail "$a and $b overlap"
pid=$(gantry run status --json "$first" | jq '.apps[0].pid')
[ "$(stat -c %u "/proc/$pid")" = "$a" ] || fail "root of the container is $(stat -c %u "/proc/$pid") in the host, not $a"
[ "$(gantry run enter "$first" id -u)" = 0 ] || fail "enter"
[ -z "$(find "$T/store/layers" -mindepth 2 ! -uid 0)" ] || fail "layers belong to others"
kill -KILL "$(gantry run status --json "$first" | jq .runner)"
for _ in $(seq 100); do [ "$(gantry run status --json "$first" | jq -r .state)" != running ] && break; sleep 0.05; done
gantry run export -o "$T/tar" "$first"
tar --numeric-owner -tvf "$T/tar" | awk '$2 != "0/0"' >"$T/others"
[ ! -s "$T/others" ] || fail "exported with other owners: $(cat "$T/others")"
gantry run rm -f "$first" "$second"

uuid=$("${run[@]}" prepare --userns=auto:size=1500 "$image" cat /proc/self/uid_map)
[ "$(gantry run -q --insecure-options=image run-prepared "$uuid" | { read -r _ _ n; echo "$n"; })" = 1500 ] || fail prepared
"${run[@]}" --userns=auto "$image" --name a -- cat /proc/self/uid_map --- "$image" --name b -- cat /proc/self/uid_map >"$T/out"
[ "$(sort -u "$T/out" | wc -l)" = 1 ] || fail "apps of one pod have other ids: $(cat "$T/out")"
SCRIPT
with 2147483648:1073741824 "$T/script"

cat >"$T/script" <<'SCRIPT'
. "$T/functions"
expect_exit 125 "${run[@]}" --userns=auto "$image" true
expect_text 'no range of 65536 ids' "$T/err"
expect_text 'containers:' "$T/err"
SCRIPT
with '' "$T/script"
cat >"$T/script" <<'SCRIPT'
. "$T/functions"
uuid=$("${run[@]}" -d --userns=auto "$image" sleep 1000)
expect_exit 125 "${run[@]}" --userns=auto "$image" true
expect_text 'other pods have all ids' "$T/err"
# A runner that is killed lets go of them.
kill -KILL "$(gantry run status --json "$uuid" | jq .runner)"
freed=''
for _ in $(seq 100); do "${run[@]}" --userns=auto "$image" true 2>"$T/err" && freed=yes && break; sleep 0.05; done
[ "$freed" ] || fail "the ids of a killed pod are not free: $(cat "$T/err")"
gantry run rm -f "$uuid"
SCRIPT
with "$((1000000000 + RANDOM * 30000)):70000" "$T/script" # of its own, for claims hold for all of the host
expect_exit 125 "${run[@]}" --userns=auto:size=x "$image" true
expect_text 'expected host, auto' "$T/err"
