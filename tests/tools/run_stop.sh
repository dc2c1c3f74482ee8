# What ends an app, and how long it has: the image says, and the command line over it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/tree/bin"
cp "$(command -v busybox)" "$T/tree/bin/busybox"
for name in sh sleep; do ln -s busybox "$T/tree/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["sh"],"StopSignal":"SIGUSR1"}' "$T/tree"
# start OPTION...: a pod that ends with the number of the signal that it hears, unless that is TERM, and that listens.
start() {
  uuid=$(gantry-run -q --insecure-options=image -d "$@" "oci:$T/image:v1" sh -c \
    'trap "exit 10" USR1; trap "exit 12" USR2; trap "" TERM; echo listening; while :; do sleep 0.05; done')
  for _ in $(seq 100); do [ "$(gantry run logs "$uuid")" = listening ] && break || sleep 0.05; done
}
# ended HOW CODE [OPTION...]: how it ends when it is told to.
ended() {
  local how
  how=$(gantry run stop --json "${@:3}" "$uuid" | jq -r .[0].how)
  [ "$how" = "$1" ] || fail "it was $how, not $1"
  gantry run status "$uuid" | grep -qx "app-image=$2" || fail "$(gantry run status "$uuid")"
  gantry run rm "$uuid" >/dev/null
}

start
ended stopped 10
start --stop-signal USR2 --init
ended stopped 12
start --stop-signal SIGTERM --stop-timeout 1
began=$(date +%s)
ended killed 137
[ $(($(date +%s) - began)) -lt 8 ] || fail "it had ten seconds, not one"
start --stop-signal 15 --stop-timeout 1000
ended killed 137 --time 1

# Of several, one that cannot be stopped or removed is told, and keeps nobody from the others.
start
running=$uuid
start --name ended
gantry run stop -f ended >/dev/null
expect_exit 1 gantry run stop --json ended "$running" --time 0
expect_text 'does not run: it is exited' "$T/err"
expect_text "'gantry run rm' removes it" "$T/err"
[ "$(jq -r '.[].uuid' "$T/out")" = "$running" ] || fail "$(cat "$T/out")"
start --name other
expect_exit 1 gantry run rm --json other ended "$running"
expect_text "pod $uuid runs" "$T/err"
[ "$(jq length "$T/out")" = 2 ] || fail "$(cat "$T/out")"
gantry run rm -f other >/dev/null
expect_exit 125 gantry-run -q --insecure-options=image --stop-signal NONE "oci:$T/image:v1" true
expect_text "no such signal" "$T/err"
