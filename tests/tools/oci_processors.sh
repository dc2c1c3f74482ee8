# A container may use the processors that its caller may, also when groups are widened later: a thread of the runtime
# that is moved among them leaves no mark on what it starts.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need taskset
[ "$(nproc)" -gt 1 ] || skip "there is one processor"

allowed() { sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$@"; }
make_bundle '.process.args=["grep", "Cpus_allowed_list", "/proc/self/status"]'
for _ in $(seq 20); do
  run_bundle 0
  [ "$(allowed "$T/out")" = "$(allowed /proc/self/status)" ] || fail "not all processors: $(cat "$T/out")"
done
last=$(allowed /proc/self/status | grep -o '[0-9]*$')
expect_exit 0 taskset -c "$last" gantry-oci --root "$T/state" run --bundle "$bundle" "gantry-test-$$"
[ "$(allowed "$T/out")" = "$last" ] || fail "not those of the caller: $(cat "$T/out")"

[ "$(id -u)" = 0 ] && [ -d /sys/fs/cgroup/cpuset ] || skip "no group of processors to change"
change_bundle '.process.args=["sleep", "1000"]'
oci run --detach --bundle "$bundle" "gantry-test-$$" </dev/null >"$T/log" 2>&1
pid=$(oci state "gantry-test-$$" | jq .pid)
oci update --cpuset-cpus "$last" "gantry-test-$$"
[ "$(allowed "/proc/$pid/status")" = "$last" ] || fail "not limited"
all=$(cat /sys/fs/cgroup/cpuset/cpuset.cpus)
oci update --cpuset-cpus "$all" "gantry-test-$$"
[ "$(allowed "/proc/$pid/status")" = "$all" ] || fail "not widened: $(allowed "/proc/$pid/status")"
