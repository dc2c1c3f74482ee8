# Every verb has --json, and what it prints is a document, or one a line.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
accept_anything
image=oci:$T/image:v1
# says FILTER VERB...: exit 0, and the last document of standard output fits.
says() {
  expect_exit 0 gantry-run -q "${@:2}"
  jq -es "last | $1" "$T/out" >/dev/null || fail "${*:2}: $(cat "$T/out" "$T/err")"
}
# tells FILTER VERB...: the same of standard error, where standard output is the app's.
tells() {
  expect_exit 0 gantry-run -q "${@:2}"
  jq -es "last | $1" "$T/err" >/dev/null || fail "${*:2}: $(cat "$T/out" "$T/err")"
}
tells '(.uuid | length == 36) and .code == 0' --json "$image" true
[ "$(gantry-run -q --json "$image" echo hello 2>/dev/null)" = hello ] || fail "the app's output is its own"
says '.uuid | length == 36' prepare --json "$image" sh -c 'echo hello; exec sleep 1000'
uuid=$(jq -r .uuid "$T/out")
says ".[0].uuid == \"$uuid\" and .[0].state == \"prepared\"" list --json
says ".uuid == \"$uuid\"" run-prepared --json -d "$uuid"
says '.state == "running" and .apps[0].state == "running"' status --json "$uuid"
for _ in $(seq 100); do [ "$(gantry-run logs "$uuid")" = hello ] && break || sleep 0.05; done
says '.text == "hello" and .stream == "stdout"' logs --json "$uuid"
tells ".uuid == \"$uuid\" and .code == 0" enter --json "$uuid" true
says '.bytes > 0' export --json -o "$T/root.tar" "$uuid"
says '.acKind == "PodManifest"' cat-manifest --json "$uuid"
gantry-run attach --json "$uuid" >"$T/attached" 2>&1 </dev/null &
attached=$!
is_attached() { readlink "/proc/$attached/fd"/* | grep '^socket:' >/dev/null; }
await is_attached || fail "attach: $(cat "$T/attached")"
sleep 0.1
says '.[0].how == "stopped"' stop --json "$uuid"
wait "$attached" && fail "attach had code 0 of an app that was stopped"
jq -e .code "$T/attached" >/dev/null || fail "attach: $(cat "$T/attached")"
says ".[0].uuid == \"$uuid\"" rm --json "$uuid"
says '.uuid | length == 36' prepare --json "$image" true
says '.removed | length == 1' gc --json --expire-prepared 0s
says '.uuid | length == 36' -d --rm --json "$image" true
# What is for a run is none of a verb's, before it or after: nothing is passed over.
expect_exit 2 gantry-run --json list
expect_text "option '--json' is one of a run, not of gantry run list" "$T/err"
expect_exit 2 gantry-run list -m 64m
# Before the first run there is nothing to list or to collect, and no pod of any name.
expect_exit 0 gantry-run --root "$T/none" list --json
[ "$(jq -c . "$T/out")" = '[]' ] || fail "pods of a store that is not there: $(cat "$T/out")"
expect_exit 0 gantry-run --root "$T/none" gc
expect_exit 3 gantry-run --root "$T/none" status web
expect_text "no pods in the store '$T/none'" "$T/err"
[ ! -e "$T/none" ] || fail "list made a store"
# Nothing to list is an empty list; and what fails says so by its code, with no half document.
says '. == [] or length == 1' list --json # the pod of --rm may still go
for verb in status logs enter export attach stop rm cat-manifest run-prepared; do
  status=0
  gantry-run "$verb" --json 00000000 >"$T/out" 2>"$T/err" || status=$?
  [ "$status" != 0 ] && [ -s "$T/err" ] || fail "$verb: no error"
  jq -es . "$T/out" >/dev/null || fail "$verb: $(cat "$T/out")"
done
expect_exit 6 gantry-run prepare --json docker://127.0.0.1:1/none
