# A build whose command is killed in the middle of a step is as it was before: begin tells what is there, the next step
# works, and abort leaves nothing, not even what the step had half made.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
cd "$T"
gantry build begin "oci:$T/base:v1"
gantry build set-name example.com/killed
before=$(cat .gantry-build/draft.json)

gantry-build run -- sh -c 'echo half >/half; echo started; exec sleep 1000' >started 2>/dev/null &
pid=$!
started_pids+=("$pid")
until grep -q started started; do
  kill -0 "$pid" || fail "the command did not start"
  sleep 0.05
done
kill -9 "$pid"
wait "$pid" 2>/dev/null || true

[ "$before" = "$(cat .gantry-build/draft.json)" ] || fail "the draft changed"
expect_exit 1 gantry build begin
expect_text "'example.com/killed' on .*, 0 layers made, the last step interrupted and without effect" "$T/err"
expect_exit 0 gantry build run -- sh -c 'test ! -e /half; echo whole >/whole'
gantry build write oci:made >/dev/null
gantry build abort
[ ! -e .gantry-build ] || fail "left: $(find .gantry-build)"
[ "$(gantry run -q oci:made sh -c 'cat /whole; test ! -e /half')" = whole ] || fail "the image is not what the steps made"
