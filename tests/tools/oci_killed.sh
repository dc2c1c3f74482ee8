# Whatever of gantry-oci is killed, and whenever: `delete --force` leaves no process, no control group and no state; what
# holds the mounts of a container in the foreground has ended by itself.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

make_bundle '.process.args=["sh","-c","sleep 997 & exec sleep 998"]'
c=gantry-test-$$

# kill_after SECONDS: what was started last.
kill_after() {
  local pid=$!
  sleep "$1"
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  oci delete --force "$c"
  nothing_is_left "$c"
}

verbs=(create 'run --detach' run)
for i in $(seq 60); do
  # With a hook, the runtime waits in the middle of it.
  [ $((i % 2)) = 0 ] && hooks='[]' || hooks='[{"path":"/bin/true"}]'
  change_bundle ".hooks.createRuntime=$hooks"
  # shellcheck disable=SC2086
  gantry-oci --root "$T/state" ${verbs[i % 3]} --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  kill_after "0.0$((RANDOM % 40 + 10))"
done
# At its end, too, where the runtime takes apart what it made.
change_bundle '.hooks={} | .process.args=["true"]'
for i in $(seq 30); do
  gantry-oci --root "$T/state" run --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  kill_after "0.0$(printf %03d $((RANDOM % 250)))"
done
mounts=$(grep -c "$bundle" /proc/self/mountinfo || true)
[ "$mounts" = 0 ] || fail "$mounts mounts are left"
left() { pgrep -f "sleep 99[78]|gantry-oci --root $T/state"; }
for _ in $(seq 100); do left >/dev/null || break; sleep 0.05; done
! left >/dev/null || fail "a process is left: $(left | xargs ps -o pid,args -p)"
