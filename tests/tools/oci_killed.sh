# Whatever of gantry-oci is killed, and whenever: `delete --force` leaves no process, no control group and no state; what
# holds the mounts of a container in the foreground has ended by itself. GANTRY_KILLS=500 makes so many rounds of each kind.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

sleeps="sleep 997$$ & exec sleep 998$$"
make_bundle ".process.args=[\"sh\",\"-c\",\"$sleeps\"]"
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
for i in $(seq "${GANTRY_KILLS:-60}"); do
  # With a hook, the runtime waits in the middle of it.
  [ $((i % 2)) = 0 ] && hooks='[]' || hooks='[{"path":"/bin/true"}]'
  change_bundle ".hooks.createRuntime=$hooks"
  # shellcheck disable=SC2086
  gantry-oci --root "$T/state" ${verbs[i % 3]} --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  kill_after "0.0$((RANDOM % 40 + 10))"
done
# At its end, too, where the runtime takes apart what it made.
change_bundle '.hooks={} | .process.args=["true"]'
for i in $(seq "${GANTRY_KILLS:-30}"); do
  gantry-oci --root "$T/state" run --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  kill_after "0.0$(printf %03d $((RANDOM % 250)))"
done
# In the verbs that come after it: the container is there or not, and goes.
change_bundle ".process.args=[\"sh\",\"-c\",\"$sleeps\"]"
for i in $(seq "${GANTRY_KILLS:-30}"); do
  oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
  verb=$((i % 4))
  [ $verb = 0 ] || oci start "$c"
  case $verb in
    0) gantry-oci --root "$T/state" start "$c" & ;;
    1) gantry-oci --root "$T/state" exec "$c" sh -c "$sleeps" </dev/null >/dev/null 2>&1 & ;;
    2) gantry-oci --root "$T/state" exec --detach "$c" sleep "997$$" </dev/null >/dev/null 2>&1 & ;;
    3) gantry-oci --root "$T/state" delete --force "$c" & ;;
  esac
  kill_after "0.0$(printf %03d $((RANDOM % 150)))"
done
mounts=$(grep -c "$bundle" /proc/self/mountinfo || true)
[ "$mounts" = 0 ] || fail "$mounts mounts are left"
left() { pgrep -f "sleep 99[78]$$|gantry-oci --root $T/state"; }
for _ in $(seq 100); do left >/dev/null || break; sleep 0.05; done
! left >/dev/null || fail "a process is left: $(left | xargs ps -o pid,args -p)"
