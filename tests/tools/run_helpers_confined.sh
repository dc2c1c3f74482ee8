# Who attends to a pod and its keeper give up what they do not need, once the pod has lived for a moment; and do their work.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
field() { sed -n "s/^$1:\t//p" "/proc/$2/status"; }
# confined PID: waits until it is.
confined() {
  for _ in $(seq 100); do [ "$(field Seccomp "$1")" = 2 ] && break; sleep 0.05; done
  [ "$(field Seccomp "$1")" = 2 ] || fail "$(cat "/proc/$1/comm") has no system call filter"
  [ "$(field NoNewPrivs "$1")" = 1 ] || fail "$(cat "/proc/$1/comm") could gain privileges"
  # DAC_OVERRIDE, FOWNER, KILL
  [ "$(field CapEff "$1")" = 000000000000002a ] || fail "$(cat "/proc/$1/comm") has capabilities $(field CapEff "$1")"
}
keeper_of() { await pgrep -P "$1" -x gantry-keeper; }

# Detached: the log is written, a client attaches, and stop works.
uuid=$("${run[@]}" -d "oci:$T/image:v1" sh -c 'trap "echo bye; exit 3" TERM; while :; do echo tick; sleep 0.2; done')
monitor=$(gantry run status --json "$uuid" | jq .runner)
confined "$monitor"
confined "$(keeper_of "$monitor")"
ticks() { [ -n "$(gantry run logs "$uuid")" ]; }
await ticks || fail "the app does not run"
gantry run stop "$uuid" >/dev/null
gantry run logs "$uuid" >"$T/log"
[ "$(tail -1 "$T/log")" = bye ] || fail "the log ends with: $(tail -1 "$T/log")"
[ "$(gantry run status --json "$uuid" | jq .code)" = 3 ] || fail "code"
gantry run rm "$uuid"

# In the foreground, and killed: nothing is left.
"${run[@]}" "oci:$T/image:v1" sleep 1000 &
pid=$!
started_pids+=("$pid")
confined "$pid"
keeper=$(keeper_of "$pid")
confined "$keeper"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "the confined keeper has left the pod"

gantry-run --print-confinement >"$T/out"
expect_text '^the processes that attend to a pod:' "$T/out"
expect_text '^the keeper of a pod with a network of its own' "$T/out"
