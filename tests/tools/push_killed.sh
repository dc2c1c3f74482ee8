# Whichever process of a push is killed takes the other along, and nothing has a name; a plain retry succeeds.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo pgrep
start_registry
server=${started_pids[-1]}
make_busybox_image "$T/layout" v1
push_it=(gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1")

# gone PID...: all of them end soon.
gone() {
  local pid tries=0
  for pid; do
    while kill -0 "$pid" 2>/dev/null; do
      [ $((tries += 1)) -lt 200 ] || fail "process $pid is left"
      sleep 0.05
    done
  done
}

# A registry that does not answer keeps both busy.
kill -STOP "$server"
for victim in child parent; do
  "${push_it[@]}" >"$T/out" 2>"$T/err" &
  parent=$!
  tries=0
  until child=$(pgrep -P "$parent"); do
    [ $((tries += 1)) -lt 200 ] || fail "there is no second process"
    sleep 0.05
  done
  kill -KILL "${!victim}"
  status=0
  wait "$parent" 2>/dev/null || status=$?
  gone "$child"
  if [ "$victim" = child ]; then
    [ "$status" = 1 ] || fail "exit $status: $(cat "$T/err")"
    expect_text 'ended early, killed by signal 9' "$T/err"
  fi
done
kill -CONT "$server"
expect_exit 1 skopeo inspect --raw --tls-verify=false "docker://$registry/box:v1"
expect_exit 0 "${push_it[@]}"
skopeo inspect --raw --tls-verify=false "docker://$registry/box:v1" >/dev/null
