# The life of a container under gantry-oci: created, started, looked at, paused, killed, deleted; and nothing is left.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way; oci_rootless is the other"

make_bundle '.process.args=["sh","-c","echo up; exec sleep 1000"] | .annotations={"a":"b"}'
c=gantry-test-$$
status() { [ "$(oci state "$c" | jq -r .status)" = "$1" ] || fail "$c is $(oci state "$c" | jq -r .status), not $1"; }

expect_exit 3 oci start "$c"
expect_text "container '$c' does not exist" "$T/err"
expect_exit 2 oci create --bundle "$bundle" ../x
oci create --bundle "$bundle" --pid-file "$T/pid" "$c" </dev/null >"$T/said" 2>&1
[ "$(cat "$T/pid")" = "$(oci state "$c" | jq .pid)" ] || fail "the pid file says $(cat "$T/pid")"
status created
[ ! -s "$T/said" ] || fail "it ran before it was started"
expect_exit 1 oci create --bundle "$bundle" "$c"
expect_text "container with id exists" "$T/err"
oci start "$c"
status running
expect_exit 1 oci start "$c"
for _ in $(seq 100); do [ -s "$T/said" ] || sleep 0.05; done
expect_text '^up$' "$T/said"
[ "$(oci state "$c" | jq -r .annotations.a)" = b ] || fail "annotations"
[ "$(oci ps --format json "$c" | jq length)" = 1 ] || fail "$(oci ps "$c")"
oci list | grep "^$c .* running " >/dev/null || fail "$(oci list)"
oci pause "$c"
status paused
expect_exit 1 oci exec "$c" true
oci resume "$c"
expect_exit 1 oci delete "$c"
expect_text 'not stopped: running' "$T/err"
oci events --stats "$c" | jq -e '.type == "stats" and .data.pids.current == 1' >/dev/null || fail events
oci kill "$c" KILL
for _ in $(seq 100); do [ "$(oci state "$c" | jq -r .status)" = stopped ] || sleep 0.05; done
status stopped
expect_exit 1 oci kill "$c" TERM
expect_text 'container not running' "$T/err"
oci delete "$c"
nothing_is_left "$c"
expect_exit 3 oci delete "$c"
expect_exit 0 oci delete --force "$c"
# One that was only created ends by a signal, and is deleted without force.
oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
oci delete "$c"
nothing_is_left "$c"
