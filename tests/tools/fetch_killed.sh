# gantry-fetch is killed at 50 random moments: the whole of it, the process that decides, or the one with the network.
# The store stays sound, no process stays behind, and a plain retry succeeds.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo pgrep setsid
start_registry
mkdir -p "$T/tree"
for n in 1 2 3; do head -c 3000000 /dev/urandom >"$T/tree/file$n"; done
make_image "$T/layout" v1 '{}' "$T/tree"
push "$T/layout:v1" big:v1
fetch=(gantry-fetch --quiet --insecure-options=image "docker://$registry/big:v1")

RANDOM=20261124
kill_window=130000
killed=0
round=0
while [ "$killed" -lt 50 ]; do
  [ $((round += 1)) -le 300 ] || fail "only $killed of $round were killed in time"
  [ $((round % 6)) != 0 ] || rm -rf "$GANTRY_ROOT"
  setsid "${fetch[@]}" >"$T/out" 2>"$T/err" &
  pid=$!
  a_random_moment
  case $((round % 3)) in
    0) kill -KILL -- "-$pid" ;;
    1) kill -KILL "$pid" ;;
    2) pkill -KILL -P "$pid" ;;
  esac 2>/dev/null || true
  status=0
  wait "$pid" 2>/dev/null || status=$?
  if [ "$status" != 0 ] && [ "$status" -le 128 ] && [ "$status" != 1 ]; then
    fail "round $round: exit $status: $(cat "$T/err")"
  fi
  ! killed_in_time "$status" || killed=$((killed + 1))
  for _ in $(seq 100); do
    pgrep -s "$pid" >/dev/null || break
    sleep 0.05
  done
  ! pgrep -s "$pid" >/dev/null || fail "round $round: a process is left"
  if [ -d "$GANTRY_ROOT/blobs" ] && [ $((round % 5)) = 0 ]; then
    gantry-store check >"$T/check" 2>&1 || [ ! -e "$GANTRY_ROOT/index.json" ] || fail "round $round: $(cat "$T/check")"
  fi
done

gantry-store check
expect_exit 0 "${fetch[@]}"
gantry-store gc >/dev/null
gantry-store check
[ -z "$(find "$GANTRY_ROOT/tmp" -type f -size +0)" ] || fail "left in tmp: $(ls -l "$GANTRY_ROOT/tmp")"
