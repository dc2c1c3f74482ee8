# The image's health check runs in the container, and its state is shown; --wait-ready waits for it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat test touch sleep rm echo; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["/bin/sh","-c","sleep 0.3; touch /well; sleep 1000"],"Healthcheck":{"Test":["CMD-SHELL","echo looked; test -e /well"],"Interval":100000000,"Retries":2}}' "$T/base"
uuid=$(gantry run -q --insecure-options=image -d "oci:$T/image:v1")
health() { gantry run status --json "$uuid" | jq -r .apps[0].health; }
[ "$(health)" = starting ] || fail "it is $(health) at once"
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
held=$(readlink "/proc/$runner"/fd/* | grep -c '^net:' || true)
[ "$held" = 0 ] || fail "the runner holds $held networks"
kill -KILL "$app"
wait "$runner" || [ $? = 137 ] || fail "the runner ended with $?"
