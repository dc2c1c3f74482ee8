# Flags of `exec`, `kill`, `ps` and `events`, each by what it does in a running container.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$
make_bundle '.process.args=["sh","-c","sleep 996'$$' & exec sleep 995'$$'"] | .process.noNewPrivileges=false'
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
expect_exit 0 oci exec --user 7:8 --additional-gids 5 --additional-gids 6 --no-new-privs --cap KILL "$c" cat /proc/self/status
expect_text '^Groups:.5 6' "$T/out"
expect_text '^NoNewPrivs:.1' "$T/out"
[ -e /sys/fs/selinux/enforce ] || [ -e /sys/module/apparmor/parameters/enabled ] || {
  expect_exit 0 oci exec --apparmor some --process-label label "$c" true
  expect_text 'AppArmor is not active' "$T/err"
  expect_text 'SELinux is not active' "$T/err"
}
# What is put into a paused container goes on when it does.
oci pause "$c"
oci exec --ignore-paused "$c" echo thawed >"$T/thawed" 2>&1 &
pid=$!
sleep 0.3
[ ! -s "$T/thawed" ] || fail "it ran in a paused container"
oci resume "$c"
wait "$pid"
expect_text '^thawed$' "$T/thawed"
timeout 3 gantry-oci --root "$T/state" events --interval 1s "$c" >"$T/events" || true
for time in 0s 5x -1s 1m30; do expect_exit 2 oci events --interval="$time" "$c"; done
timeout 2 gantry-oci --root "$T/state" events --interval 100ms "$c" >"$T/often" || true
[ "$(wc -l <"$T/often")" -ge 5 ] || fail "events: $(wc -l <"$T/often") lines"
[ "$(wc -l <"$T/events")" -ge 2 ] && jq -e '.data.memory' "$T/events" >/dev/null || fail "events: $(cat "$T/events")"
oci ps "$c" | grep 'sleep 996' >/dev/null || fail "$(oci ps "$c")"
oci ps "$c" -- -o pid,args | grep ' sleep 995' >/dev/null || fail "$(oci ps "$c" -- -o pid,args)"
oci ps "$c" -o pid,args | grep ' sleep 995' >/dev/null || fail "$(oci ps "$c" -o pid,args)"
# In a control group below the container's: of one hierarchy, or wherever there is one of the name.
# That of cpuset begins without processors, and nobody can join it.
find /sys/fs/cgroup -maxdepth 4 -type d -name "$c" -not -path '*/cpuset/*' -exec mkdir {}/below \; 2>/dev/null || true
expect_exit 0 oci exec --cgroup below "$c" cat /proc/self/cgroup
expect_text '/below$' "$T/out"
if [ -d /sys/fs/cgroup/pids ]; then
  expect_exit 0 oci exec --cgroup pids:/below "$c" cat /proc/self/cgroup
  [ "$(grep -c '/below$' "$T/out")" = 1 ] && grep -q ':pids:.*/below$' "$T/out" || fail "$(cat "$T/out")"
fi
expect_exit 3 oci exec --cgroup nowhere "$c" true
# It leads nowhere above the container's.
[ "$(oci exec --cgroup ../.. "$c" cat /proc/self/cgroup)" = "$(oci exec "$c" cat /proc/self/cgroup)" ] || fail "it is above"
# Every process is sent it, not the first alone.
oci kill --all "$c" KILL
nobody_is_left() { ! pgrep -f "sleep 99[56]$$" >/dev/null; }
await nobody_is_left || fail "one is left"
oci delete "$c"
nothing_is_left "$c"
