# The image's health check runs in the container, and its state is shown; --wait-ready waits for it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat test touch sleep rm echo; do ln -s busybox "$T/base/bin/$name"; done
# Without a first check for long it stays what it is at the beginning.
make_image "$T/image" slow '{"Cmd":["/bin/sh","-c","sleep 1000"],"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000000}}' "$T/base"
uuid=$(gantry run -q --insecure-options=image -d "oci:$T/image:slow")
health() { gantry run status --json "$uuid" | jq -r .apps[0].health; }
[ "$(health)" = starting ] || fail "it is $(health) at once"
gantry run rm -f "$uuid" >/dev/null
make_image "$T/image" v1 '{"Cmd":["/bin/sh","-c","sleep 0.3; touch /well; sleep 1000"],"Healthcheck":{"Test":["CMD-SHELL","echo looked; test -e /well"],"Interval":100000000,"Retries":2}}' "$T/base"
uuid=$(gantry run -q --insecure-options=image -d "oci:$T/image:v1")
expect_exit 0 gantry run status --wait-ready "$uuid"
expect_text '^health-image=healthy$' "$T/out"
gantry run enter "$uuid" rm /well
for _ in $(seq 100); do [ "$(health)" = unhealthy ] && break || sleep 0.05; done
[ "$(health)" = unhealthy ] || fail "it is $(health)"
[ "$(gantry run status --json "$uuid" | jq -r .apps[0].healthOutput)" = looked ] || fail "no output of the check"
gantry run rm -f "$uuid" >/dev/null
uuid=$(gantry run -q --insecure-options=image -d --no-healthcheck "oci:$T/image:v1")
[ "$(health)" = null ] || fail "the check runs"
gantry run rm -f "$uuid" >/dev/null

# In the foreground, too, the app has the only hold on its network.
gantry-run -q --insecure-options=image "oci:$T/image:v1" &
runner=$!
started_pids+=("$runner")
uuid=
for _ in $(seq 100); do uuid=$(gantry run list -q); [ -n "$uuid" ] && [ "$(health)" = healthy ] && break || sleep 0.05; done
[ "$(health)" = healthy ] || fail "it is $(health) in the foreground"
app=$(gantry run status --json "$uuid" | jq -r .apps[0].pid)
[ "$(readlink "/proc/$app/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "it has the network of the host"
# Whoever comes in for a check does, for that moment.
holds_none() { ! readlink "/proc/$runner"/fd/* | grep '^net:' >/dev/null; }
await holds_none || fail "the runner holds a network"
kill -KILL "$app"
wait "$runner" || [ $? = 137 ] || fail "the runner ended with $?"
