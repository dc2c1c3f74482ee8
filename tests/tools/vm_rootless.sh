# An ordinary user has virtual machines of their own: in the foreground, detached, with volumes, entered and stopped.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq
unshare -U true 2>/dev/null || skip "no user namespaces here"

own_kernel
mkdir -p "$T/base/bin" "$T/data"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id sleep; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"
as_user true
[ "$(id -u)" != 0 ] || chown -R 65534 "$T/data" "$T/image"

expect_exit 9 as_user "${vm[@]}" -u 7:8 -v "$T/data:/data" "oci:$T/image" sh -c 'id -u; cat /proc/self/uid_map; exit 9'
expect_text '^7$' "$T/out"
expect_text '0 +0 +4294967295' "$T/out" # of the guest: no user namespace in it
expect_exit 0 as_user "${vm[@]}" -v "$T/data:/data" "oci:$T/image" sh -c 'echo made >/data/made'
[ "$(cat "$T/data/made")" = made ] || fail 'the volume was not written'
uuid=$(as_user "${vm[@]}" -d "oci:$T/image" sh -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done')
expect_exit 5 as_user gantry-run enter "$uuid" sh -c 'id -u; exit 5'
expect_text '^0$' "$T/out"
for _ in $(seq 400); do [ "$(as_user gantry-run logs "$uuid")" = ready ] && break || sleep 0.05; done
[ "$(as_user gantry-run stop --json "$uuid" | jq -r .[0].how)" = stopped ] || fail 'it was not stopped'
[ "$(as_user gantry-run status --json "$uuid" | jq .code)" = 3 ] || fail 'its code'
as_user gantry-run rm "$uuid" >/dev/null
