# Several apps in one machine are what they are in namespaces: one network, IPC and host name, their own mounts and pids,
# limits, logs and ends.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
mkdir "$T/data"

pods() {
  local run=(gantry-run -q --insecure-options=image "${isolation[@]}") uuid
  # What they share and what they do not; a volume of one is the other's, too.
  expect_exit 0 "${run[@]}" --hostname pod -v "$T/data:/data" --mount type=empty,source=e,target=/e \
    "$image" --name one -- sh -c 'nc -l -p 7 -e echo heard & echo x >/e/one; touch /mine; echo one-$(hostname)-$$ >/data/one; wait' \
    --- "$image" --name two -- sh -c 'while ! nc 127.0.0.1 7 >/data/two </dev/null; do :; done; ls / /e | tr "\n" " "; hostname'
  [ "$(cat "$T/data/two")" = heard ] || fail "${isolation[*]}: they do not share a network"
  expect_text '^one-pod-[0-9]+$' "$T/data/one"
  expect_text ' /e: one pod$' "$T/out"
  ! grep mine "$T/out" || fail "${isolation[*]}: one sees the other's root"

  # The first that fails ends the others, and its code is the pod's.
  expect_exit 4 "${run[@]}" "$image" --name long -- sh -c 'trap "echo told; exit 0" TERM; while :; do sleep 0.05; done' \
    --- "$image" --name brief -- sh -c 'sleep 2; exit 4'
  expect_text '^told$' "$T/out"
  expect_exit 127 "${run[@]}" "$image" -- sleep 100 --- "$image" --name none -- /no/such
  expect_text "cannot execute '/no/such'" "$T/err"

  # Both write much at once, to one place.
  # shellcheck disable=SC2016
  chatter='i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "'
  expect_exit 0 "${run[@]}" "$image" -- sh -c "$chatter a long line of one\"; done" \
    --- "$image" --name second -- sh -c "$chatter a long line of two\"; done"
  [ "$(wc -c <"$T/out")" = $((2 * 3000 * 20)) ] || fail "${isolation[*]}: $(wc -c <"$T/out") bytes came"

  # Detached: each by its name.
  uuid=$("${run[@]}" -d "$image" --name one -u 7 --pids 77 -- sh -c 'echo from one; while :; do sleep 0.05; done' \
    --- "$image" --name two --pids 78 -- sh -c 'echo from two; trap "exit 0" TERM; while :; do sleep 0.05; done')
  for app in one two; do
    for _ in $(seq 400); do [ "$(gantry run logs --app "$app" "$uuid")" != "from $app" ] || break; sleep 0.05; done
    [ "$(gantry run logs --app "$app" "$uuid")" = "from $app" ] || fail "${isolation[*]}: the logs of $app"
  done
  [ "$(gantry run status --json "$uuid" | jq -c '[.apps[].state]')" = '["running","running"]' ] || fail "${isolation[*]}: states"
  [ "$(gantry run enter --app one "$uuid" id -u)" = 7 ] || fail "${isolation[*]}: who is in one"
  [ "$(gantry run enter --app two "$uuid" sh -c 'id -u; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null' | xargs)" = '0 78' ] ||
    fail "${isolation[*]}: who is in two"
  gantry run stop --time 2 "$uuid" >/dev/null
  for _ in $(seq 400); do [ "$(gantry run status --json "$uuid" | jq -r .state)" != exited ] || break; sleep 0.1; done
  [ "$(gantry run status --json "$uuid" | jq -c '[.apps[].code]')" = '[143,0]' ] ||
    fail "${isolation[*]}: $(gantry run status --json "$uuid")"
  gantry run rm "$uuid" >/dev/null
}

# Made now, run later; the policy and the machine's options are those of then. The first failure ends the other app.
prepared() {
  local run=(gantry-run -q --insecure-options=image) uuid
  uuid=$("${run[@]}" prepare "${isolation[@]}" "$image" -- sh -c 'sleep 2; exit 3' --- "$image" --name two -- echo two)
  [ "$(gantry run status "$uuid" | grep ^state)" = state=prepared ] || fail "${isolation[*]}: not prepared"
  expect_exit 3 "${run[@]}" run-prepared "${isolation[@]}" "$uuid"
  expect_text '^two$' "$T/out"
}

isolation=(--isolation=namespaces)
pods
prepared
isolation=(--isolation=vm "${kernel[@]}")
pods
prepared
uuid=$(gantry-run -q --insecure-options=image prepare "$image" true)
expect_exit 125 gantry-run -q --insecure-options=image run-prepared "${isolation[@]}" "$uuid"
expect_text 'was prepared for namespaces' "$T/err"
gantry run rm "$uuid" >/dev/null
