# Limits of a bundle are set and can be updated; what no control group can enforce is refused, and never dropped.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
[ -d /sys/fs/cgroup/memory ] && [ -d /sys/fs/cgroup/pids ] || skip "no cgroup v1 with memory and pids"
c=gantry-test-$$
value() { oci exec "$c" cat "/sys/fs/cgroup/$1"; }
expect_value() { [ "$(value "$1")" = "$2" ] || fail "$1 is $(value "$1"), not $2"; }

make_bundle '.process.args=["sleep","1000"] | .linux.resources={"memory":{"limit":67108864,"swap":134217728},
  "cpu":{"shares":512,"quota":20000,"period":50000},"pids":{"limit":40},"devices":[{"allow":false,"access":"rwm"},
  {"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]} | .linux.cgroupsPath="/gantry-tests/'"$c"'"'
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
expect_value memory/memory.limit_in_bytes 67108864
expect_value memory/memory.memsw.limit_in_bytes 134217728
expect_value cpu/cpu.shares 512
expect_value cpu/cpu.cfs_quota_us 20000
expect_value pids/pids.max 40
value devices/devices.list >"$T/devices"
expect_text '^c 10:229 rwm$' "$T/devices"
! grep -q '^a' "$T/devices" || fail "all devices are allowed"
expect_text ":pids:/gantry-tests/$c$" "/proc/$(oci state "$c" | jq .pid)/cgroup"
oci update --memory 256M --memory-swap 512M --pids-limit 41 "$c"
expect_value memory/memory.limit_in_bytes 268435456
expect_value pids/pids.max 41
echo '{"memory":{"limit":33554432,"swap":67108864},"cpu":{"shares":100}}' | oci update --resources - "$c"
expect_value memory/memory.limit_in_bytes 33554432
expect_value cpu/cpu.shares 100
expect_exit 5 oci update --resources - "$c" <<<'{"pids":{"limit":"many"}}'
expect_exit 2 oci update --memory 12x "$c"
# A limit below what is used would have the kernel kill for it.
expect_exit 1 oci update --resources - "$c" <<<'{"memory":{"limit":4096,"checkBeforeUpdate":true}}'
expect_text 'less than' "$T/err"
expect_value memory/memory.limit_in_bytes 33554432
oci delete --force "$c"
nothing_is_left "$c"
find /sys/fs/cgroup -maxdepth 2 -name gantry-tests -exec rmdir {} + 2>/dev/null || true

make_bundle '.process.args=["true"] | .linux.resources={"network":{"classID":7}}'
[ -d /sys/fs/cgroup/net_cls ] || { expect_exit 7 oci run --bundle "$bundle" "$c" && nothing_is_left "$c"; }
make_bundle '.process.args=["true"] | .linux.intelRdt={"closID":"x"}'
expect_exit 7 oci run --bundle "$bundle" "$c"
expect_text intelRdt "$T/err"
make_bundle '.process.args=["sleep","1000"]'
change_bundle '.linux.resources.pids.limit=1'
expect_exit 0 oci run --bundle "$bundle" --detach "$c" </dev/null
oci delete --force "$c"

# Limits that cannot be set, and a group that is another's, end it before its program begins; nothing of the other is touched.
make_bundle '.process.args=["touch","/began"] | .linux.resources.unified={"no.such.file":"1"}'
expect_exit 7 oci run --bundle "$bundle" "$c"
expect_text 'no.such.file' "$T/err"
nothing_is_left "$c"
change_bundle 'del(.linux.resources.unified)'
mkdir "/sys/fs/cgroup/pids/$c"
sleep 1000 &
started_pids+=($!)
echo $! >"/sys/fs/cgroup/pids/$c/cgroup.procs"
expect_exit 1 oci run --bundle "$bundle" "$c"
expect_text 'has processes already' "$T/err"
kill $! || fail "a process of another was killed"
wait $! || true
rmdir "/sys/fs/cgroup/pids/$c"
[ ! -e "$bundle/rootfs/began" ] || fail "it began all the same"
nothing_is_left "$c"
