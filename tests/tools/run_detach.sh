# A detached pod runs on its own: listed, logged, stopped, removed; and its code is remembered.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run() { gantry run -q --insecure-options=image "$@"; }
pods() { gantry run list --json; }

uuid=$(run -d --name web --uuid-file-save "$T/uuid" "oci:$T/image:v1" sh -c 'echo out; echo err >&2; trap "exit 3" TERM; while :; do sleep 0.05; done')
[ "$uuid" = "$(cat "$T/uuid")" ] || fail "the file has another UUID"
[ "$(pods | jq -r '.[0].state, .[0].apps[0].name, .[0].apps[0].state' | xargs)" = "running web running" ] || fail "$(pods)"
kill -0 "$(gantry run status --json "$uuid" | jq .apps[0].pid)" || fail "its process is not there"
both_said() { [ "$(gantry run logs web 2>&1 | sort | xargs)" = 'err out' ]; }
await both_said || fail "the log: $(gantry run logs web 2>&1)"
expect_exit 0 gantry run logs --timestamps "$uuid"
expect_text '^20.*Z out$' "$T/out"
expect_text '^20.*Z err$' "$T/err"
[ "$(gantry run logs --json --tail 1 "${uuid:0:8}" | jq -r '.app + .stream')" = webstderr ] || fail "the log as JSON"
expect_exit 1 gantry run rm "$uuid"
expect_text 'stop it first' "$T/err"
expect_exit 0 gantry run stop --json --uuid-file "$T/uuid"
[ "$(jq -r .[0].how "$T/out")" = stopped ] || fail "stop killed it"
expect_exit 0 gantry run status "$uuid"
expect_text '^state=exited$' "$T/out"
expect_text '^app-web=3$' "$T/out"
expect_exit 0 gantry run gc # younger than the grace period
[ "$(pods | jq length)" = 1 ] || fail "gc took what had just ended"
expect_exit 0 gantry run rm "$uuid"
expect_exit 3 gantry run status "$uuid"

# One that does not hear is killed when its time is over; --rm leaves nothing.
uuid=$(run -d --rm "oci:$T/image:v1" sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done')
for _ in $(seq 100); do [ "$(gantry run logs "$uuid")" = ready ] && break || sleep 0.05; done
[ "$(gantry run stop --time 1 --json "$uuid" | jq -r .[0].how)" = killed ] || fail "it heard"
for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
expect_exit 127 run -d "oci:$T/image:v1" /no/such
expect_text "cannot execute '/no/such'" "$T/err"
expect_exit 125 run -d -v "$T/no:/x" "oci:$T/image:v1" true
expect_text 'open the source of volume' "$T/err"
