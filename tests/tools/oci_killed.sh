# Whatever of gantry-oci is killed, and whenever: `delete --force` leaves no process, no control group and no state.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

make_bundle '.process.args=["sh","-c","sleep 997 & exec sleep 998"] | .hooks.createRuntime=[{"path":"/bin/true"}]'
c=gantry-test-$$
for i in $(seq 40); do
  verb=create
  [ $((i % 2)) = 0 ] || verb='run --detach'
  # shellcheck disable=SC2086
  gantry-oci --root "$T/state" $verb --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  pid=$!
  sleep "0.0$((RANDOM % 40 + 10))"
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  oci delete --force "$c"
  nothing_is_left "$c"
done
mounts=$(grep -c "$bundle" /proc/self/mountinfo || true)
[ "$mounts" = 0 ] || fail "$mounts mounts are left"
for _ in $(seq 100); do pgrep -f 'sleep 99[78]' >/dev/null || break; sleep 0.05; done
! pgrep -f 'sleep 99[78]' >/dev/null || fail "a process is left"
