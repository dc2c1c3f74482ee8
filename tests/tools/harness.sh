# The test harness itself: an image made by it passes through a registry and comes back with its layers in order.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci jq

make_busybox_image "$T/image" v1
start_registry
push "$T/image:v1" test/busybox:v1
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/test/busybox:v1" "oci:$T/back:v1"
umoci unpack --rootless --image "$T/back:v1" "$T/bundle" >"$T/umoci.log" 2>&1 || fail "$(cat "$T/umoci.log")"
root=$T/bundle/rootfs
[ ! -e "$root/etc/removed" ] || fail "the whiteout did not remove its file"
[ "$root/opt/first" -ef "$root/opt/second" ] || fail "the hard link is not one"
[ -u "$root/bin/su-busybox" ] || fail "the setuid bit is gone"
[ "$("$root/bin/sh" -c 'echo hello')" = hello ] || fail "the busybox of the image does not run"

make_gpg_key tester
# shellcheck disable=SC2154 # set by make_gpg_key
[ ${#fingerprint} = 40 ] || fail "no fingerprint"
echo signed | gpg --batch --quiet --local-user "$fingerprint" --sign | gpg --batch --quiet --verify 2>/dev/null ||
  fail "the key does not sign"
expect_exit 3 sh -c 'exit 3'

# What a test asks for at its end is done, the last first, and changes nothing of what comes out of it.
ends="set -euo pipefail; . '$GANTRY_SOURCE_DIR/tests/support/lib.sh'; at_exit 'echo \$T; false'; at_exit 'echo \"last one\"; cd /none'"
expect_exit 1 bash -c "$ends; fail this"
[ "$(head -n1 "$T/out")" = 'last one' ] || fail "not the last first: $(cat "$T/out")"
[ ! -e "$(tail -n1 "$T/out")" ] || fail "the directory of a test that failed is left"
expect_exit 5 bash -c "$ends; (exit 5)"
expect_exit 77 bash -c "$ends; skip this"
expect_exit 0 bash -c "$ends"
[ "$(as_user id -u)" != 0 ] || fail "as_user is root"
