# -it gives the application of a virtual machine a terminal that follows ours, and signals reach it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox expect jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh stty tty cat sleep; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"

IMAGE=$T/image expect -f "$(dirname "$0")/../support/terminal.exp" "${vm[@]}" >"$T/said" || fail "$(cat "$T/said")"

# TERM is the application's own business, and it may say what comes of it.
: >"$T/app"
"${vm[@]}" "oci:$T/image" sh -c 'trap "echo heard; exit 5" TERM; echo ready; while :; do sleep 0.1; done' >"$T/app" &
pid=$!
for _ in $(seq 600); do ! grep -q ready "$T/app" || break; sleep 0.1; done
uuid=$(ls "$T/store/pods")
expect_exit 0 gantry-run list
expect_text "^${uuid:0:8}.*running" "$T/out"
expect_exit 0 gantry-run enter -t "$uuid" sh -c 'tty; stty size'
expect_text '^/dev/pts/' "$T/out"
expect_exit 7 gantry-run export -o "$T/root.tar" "$uuid"
expect_text 'runs in a virtual machine and cannot be exported' "$T/err"
[ ! -e "$T/root.tar" ] || fail 'something was exported'
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 5 ] || fail "exit $status after a signal that the application handles"
expect_text heard "$T/app"

# A machine that ends under its application is a failure of ours, and says so: at once, and to whoever asks later.
for _ in $(seq 400); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
: >"$T/app"
"${vm[@]}" "oci:$T/image" sh -c 'echo ready; exec sleep 1000' >"$T/app" 2>"$T/said" &
pid=$!
for _ in $(seq 600); do ! grep -q ready "$T/app" || break; sleep 0.1; done
end_machine() { kill -TERM "$(pgrep -P "$(gantry-run status --json "$1" | jq .apps[0].pid)")"; }
end_machine "$(ls "$T/store/pods")"
status=0
wait "$pid" || status=$?
[ "$status" = 125 ] || fail "exit $status of a machine that was ended"
expect_text 'the virtual machine ended before the application did' "$T/said"
expect_text 'its console said' "$T/said"
uuid=$(gantry-run --insecure-options=image --isolation=vm "${kernel[@]:1}" -d "oci:$T/image" sleep 1000 2>"$T/said")
[ -z "$(sed -n 2p "$T/store/vm/kvm")" ] || expect_text 'the virtual machine is emulated' "$T/said"
end_machine "$uuid"
expect_exit 0 gantry-run status --wait --json "$uuid"
[ "$(jq -r '.state + (.code | tostring)' "$T/out")" = exited125 ] || fail "$(cat "$T/out")"
expect_text '"reason": .*ended before the application did' "$T/out"
gantry-run rm "$uuid" >/dev/null
