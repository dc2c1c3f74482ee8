# Runners killed at random moments leave nothing once gc has run; many pods start at once.
# GANTRY_KILLS=500 is the full number.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
"${run[@]}" "oci:$T/image:v1" true
mounts() { grep -c "$T/store" /proc/self/mounts || true; }
# Groups of others may go while we look.
groups() { { find /sys/fs/cgroup -maxdepth 4 -type d -name 'gantry-????????-*' 2>/dev/null || true; } | sort; }
groups >"$T/groups-before"
# left_groups: new ones that hold nobody. Others may run pods meanwhile; what lives in one of ours is found by itself.
left_groups() {
  local group
  groups | comm -13 "$T/groups-before" - | while read -r group; do
    [ -n "$(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null)" ] || [ ! -d "$group" ] || echo "$group"
  done
}

kill_window=60000
for ((i = 0; i < ${GANTRY_KILLS:-40}; i++)); do
  flags=()
  ((i % 3)) || flags=(-d)
  setsid "${run[@]}" "${flags[@]}" -e "RESIDUE=$T" "oci:$T/image:v1" sleep 1000 >/dev/null 2>&1 &
  pid=$!
  a_random_moment
  # The runner, and now and then its helpers too: keeper, monitor, the process that decides.
  ((i % 2)) && pkill -KILL -s "$pid" || true
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
for _ in $(seq 50); do
  # Also those that had not begun when their caller was killed. A directory without a file is young, and might be in the
  # making.
  for uuid in $(gantry run list -q); do gantry run rm -f "$uuid" >/dev/null || true; done
  find "$T/store/pods" -mindepth 1 -maxdepth 1 -exec touch -d '5 minutes ago' {} + 2>/dev/null || true
  gantry run gc --grace-period 0 --expire-prepared 0 >/dev/null
  [ -n "$(ls -A "$T/store/pods")" ] || break
  sleep 0.1
done
[ -z "$(ls -A "$T/store/pods")" ] || fail "left: $(ls "$T/store/pods")"
[ "$(mounts)" = 0 ] || fail "mounts are left"
for _ in $(seq 50); do left_groups >"$T/left"; [ -s "$T/left" ] || break; sleep 0.1; done
[ ! -s "$T/left" ] || fail "control groups are left: $(cat "$T/left")"
nobody_is_left() { ! grep -lzsx "RESIDUE=$T" /proc/[0-9]*/environ | grep . >/dev/null; }
await nobody_is_left || fail "a process is left: $(grep -lzsx "RESIDUE=$T" /proc/[0-9]*/environ | xargs)"

# At once.
for ((i = 0; i < ${GANTRY_PARALLEL:-64}; i++)); do
  "${run[@]}" "oci:$T/image:v1" sh -c "exit $((i % 7))" &
  pids[i]=$!
done
for ((i = 0; i < ${GANTRY_PARALLEL:-64}; i++)); do
  got=0
  wait "${pids[i]}" || got=$?
  [ $got = $((i % 7)) ] || fail "pod $i ended with $got"
done
