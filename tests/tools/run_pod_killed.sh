# A pod whose runner was killed is told as such, has no process left, and gc collects it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
uuid=$(gantry run -q --insecure-options=image -d "oci:$T/image:v1" sleep 1000)
status() { gantry run status --json "$uuid"; }
pid=$(status | jq .apps[0].pid)
kill -9 "$(status | jq .runner)"
for _ in $(seq 200); do [ "$(status | jq -r .state)" = killed ] && break || sleep 0.05; done
[ "$(status | jq -r .state)" = killed ] || fail "$(status)"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
! kill -0 "$pid" 2>/dev/null || fail "its process lives"
no_group() { ! find /sys/fs/cgroup -maxdepth 3 -name "gantry-$uuid" 2>/dev/null | grep . >/dev/null; }
await no_group || fail "a control group is left"
expect_exit 125 gantry run enter "$uuid" true
expect_exit 0 gantry run gc --grace-period 0 --json
[ "$(jq -r .removed[0] "$T/out")" = "$uuid" ] || fail "gc did not take it: $(cat "$T/out")"
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
