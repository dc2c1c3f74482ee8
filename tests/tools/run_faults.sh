# A full disk, a full group of processes and a place where nothing may be written each end with a clear word, and leave
# no pod behind.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox unshare
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
mkdir "$T/small"
cat >"$T/full" <<'END'
mount -t tmpfs -o size=400k,mode=0755 tmpfs "$1/small"
export GANTRY_ROOT=$1/small
shift
"$@"
code=$?
for _ in $(seq 100); do [ -n "$(ls -A "$GANTRY_ROOT/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
ls -A "$GANTRY_ROOT/pods" | sed 's/^/left: /'
exit $code
END
expect_exit 125 unshare -m bash "$T/full" "$T" "${run[@]}" "oci:$T/image:v1" true
expect_text 'No space left on device' "$T/err"
! grep -q '^left' "$T/out" || fail "a pod is left on the full disk"

pids=/sys/fs/cgroup/pids
[ -d "$pids" ] || pids=/sys/fs/cgroup
group=$pids/gantry-test-$$
if mkdir "$group" 2>/dev/null && [ -e "$group/pids.max" ]; then
  at_exit 'rmdir "$group"'
  "${run[@]}" "oci:$T/image:v1" true
  for most in 2 3 4 5; do
    echo $most >"$group/pids.max"
    # bash itself counts, and becomes the runner.
    got=0
    bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "${run[@]}" "oci:$T/image:v1" true >"$T/out" 2>"$T/err" || got=$?
    if [ $got != 0 ]; then
      [ $got = 125 ] || fail "$most processes: exit $got: $(cat "$T/err")"
      expect_text 'Resource temporarily unavailable' "$T/err"
      expect_text 'limit' "$T/err"
    fi
    for _ in $(seq 100); do [ -n "$(cat "$group/cgroup.procs")" ] || break; sleep 0.05; done
  done
else
  rmdir "$group" 2>/dev/null || true
fi
for _ in $(seq 100); do gantry run gc >/dev/null; [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
