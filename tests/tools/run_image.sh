# gantry-run executes what the image and the command line say, passes exit codes on, and leaves nothing behind.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox
[ "$(id -u)" = 0 ] || skip "root's way; run_rootless is the other"

mkdir -p "$T/base/bin" "$T/base/etc/gone" "$T/base/old" "$T/top/etc" "$T/top/old"
touch "$T/base/old/hidden" "$T/top/etc/.wh.gone" "$T/top/old/.wh..wh..opq"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id env pwd touch; do ln -s busybox "$T/base/bin/$name"; done
printf 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n' >"$T/base/etc/passwd"
echo from-the-top >"$T/top/etc/motd"
make_image "$T/image" v1 '{"Entrypoint":["/bin/sh","-c"],"Cmd":["cat /etc/motd"],"Env":["A=image"],"WorkingDir":"/srv","User":"web"}' \
  "$T/base" "$T/top"
run=(gantry-run -q --insecure-options=image)
mkdir "$T/data"

expect_exit 125 gantry-run "oci:$T/image" # the policy refuses
expect_text 'refused' "$T/err"
expect_exit 0 "${run[@]}" "oci:$T/image"
expect_text '^from-the-top$' "$T/out"
expect_exit 0 "${run[@]}" -e A=mine -e B=2 "oci:$T/image" 'echo $A $B $HOME $(pwd) $(id -u):$(id -g)'
expect_text '^mine 2 /srv /srv 33:34$' "$T/out"
expect_exit 0 "${run[@]}" -u 0:7 -w /etc --entrypoint /bin/pwd "oci:$T/image"
expect_text '^/etc$' "$T/out"
expect_exit 9 "${run[@]}" -u root -v "$T/data:/data" "oci:$T/image" -- 'touch /data/made; exit 9'
expect_exit 1 "${run[@]}" "oci:$T/image" '[ -e /etc/gone ] || [ -e /old/hidden ] || [ ! -d /old ]'
[ -e "$T/data/made" ] || fail "the volume was not written"
expect_exit 0 "${run[@]}" --entrypoint '' -i "oci:$T/image" cat <<<'through a pipe'
expect_text '^through a pipe$' "$T/out"
expect_exit 143 "${run[@]}" "oci:$T/image" 'kill -TERM $$'
expect_exit 127 "${run[@]}" --entrypoint /no/such "oci:$T/image"
expect_text "cannot execute '/no/such': not found" "$T/err"
expect_exit 126 "${run[@]}" --entrypoint /etc/motd "oci:$T/image"
expect_exit 127 "${run[@]}" --entrypoint "" "oci:$T/image" -it sh
expect_text "options come before the image" "$T/err"
expect_exit 125 "${run[@]}" --no-such-option "oci:$T/image"
expect_exit 125 "${run[@]}" -v relative:/x "oci:$T/image"
for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
# On ext4 each pod lies elsewhere than the store, where files were removed perhaps.
if [ "$(stat -f -c %T "$T/store/pods")" = ext2/ext3 ] && command -v lsattr >/dev/null; then
  lsattr -d "$T/store/pods" | grep -q '^[^ ]*T' || fail "pods lie beside each other: $(lsattr -d "$T/store/pods")"
fi
