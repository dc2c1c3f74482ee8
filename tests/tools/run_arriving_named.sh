#!/bin/bash
# What was checked is executed before the store has given the image its name, and whatever becomes of that. Here another
# process has the store's names locked meanwhile.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox flock pgrep
[ "$(id -u)" = 0 ] || skip "root's way"
accept_anything
start_registry
mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh sleep; do ln -s busybox "$T/base/bin/$name"; done
head -c 2000000 /dev/urandom >"$T/base/large"
make_image "$T/img" v1 '{"Cmd":["sh","-c","echo it runs; read -r code; exit $code"]}' "$T/base"
push "$T/img:v1" large:v1
image=docker://$registry/large:v1
mkfifo "$T/in"
is_named() { gantry-store list | grep -q large:v1; }
processes_end() {
  for _ in $(seq 100); do pgrep -f "$registry/large" >/dev/null || return 0; sleep 0.05; done
  fail "a process is left: $(pgrep -af "$registry/large")"
}
pods_gone() {
  for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || return 0; sleep 0.05; done
  fail "a pod is left"
}

# run OPTION...: starts it in a store without the image, where names are locked, and returns when the app runs. Sets pid.
run() {
  rm -rf "$T/store"
  expect_exit 125 gantry-run -q store:nothing
  exec {names}<"$T/store/index.lock"
  flock "$names"
  setsid env --default-signal=INT gantry-run "$@" -i "$image" <"$T/in" >"$T/out1" 2>"$T/err1" {names}<&- &
  pid=$!
  exec {in}>"$T/in"
  for _ in $(seq 500); do
    ! grep -q 'it runs' "$T/out1" || break
    kill -0 "$pid" 2>/dev/null || fail "not executed: $(cat "$T/err1")"
    sleep 0.02
  done
  grep -q 'it runs' "$T/out1" || fail "not executed before it has its name"
  ! is_named || fail "it has its name already"
}
# Ends what holds the app and the names.
release() { exec {in}>&- {names}<&-; }
code_is() {
  local code=0
  wait "$pid" || code=$?
  [ "$code" = "$1" ] || fail "exit $code instead of $1: $(cat "$T/err1")"
  pods_gone
  processes_end
}

# It has the name when the runner has ended, and ends with the app's code. Meanwhile there is a pod like any other, and
# the same image is run once more, and collected around.
run -q
uuid=$(gantry-run list -q)
expect_exit 0 gantry-run enter "$uuid" /bin/sh -c 'exit 0'
expect_exit 0 gantry-run export -o "$T/exported" "$uuid"
cmp "$T/base/large" <(tar -xOf "$T/exported" large ./large 2>/dev/null) || fail "exported another one"
: >"$T/out2"
gantry-run -q "$image" /bin/sh -c 'echo it runs, too' >"$T/out2" 2>"$T/err2" {names}<&- {in}>&- &
second=$!
until grep -q 'it runs, too' "$T/out2"; do kill -0 "$second" || fail "$(cat "$T/err2")"; sleep 0.02; done
gantry-store gc >"$T/out3" 2>&1 {names}<&- {in}>&- &
collection=$!
echo 7 >&"$in"
sleep 0.2
kill -0 "$pid" || fail "it did not wait for the name"
release
wait "$second" || fail "the second: $(cat "$T/err2")"
wait "$collection" || fail "$(cat "$T/out3")"
code_is 7
is_named || fail "it has no name"
[ ! -s "$T/err1" ] || fail "$(cat "$T/err1")"
expect_exit 0 gantry-store check
expect_exit 0 gantry-store gc
expect_exit 0 gantry-run -q "$image" /bin/sh -c 'exit 0'

# A name that cannot be given is told, once by each, and is no failure of the app.
run
sleep 1 # the runner may still read it, whose app has spoken already
echo '{' >"$T/store/index.json"
echo 0 >&"$in"
release
code_is 0
[ "$(grep -c '^gantry-fetch: .*index.json' "$T/err1")" = 1 ] || fail "$(cat "$T/err1")"
[ "$(grep -c '^gantry-run: .*is not kept in the store: gantry-fetch has told why' "$T/err1")" = 1 ] || fail "$(cat "$T/err1")"

# So is the end of who would give it.
run -q
pkill -KILL -o -f "gantry-fetch.*$registry/large"
sleep 0.1
expect_exit 0 gantry-run enter "$(gantry-run list -q)" /bin/sh -c 'exit 0'
echo 3 >&"$in"
release
code_is 3
expect_text 'is not kept in the store: gantry-fetch was ended by signal 9' "$T/err1"
expect_exit 0 gantry-run -q "$image" /bin/sh -c 'exit 0'
expect_exit 0 gantry-store check

# Who interrupts the app has the image all the same.
run -q
kill -INT -- "-$pid"
sleep 0.2
release
code_is 130
is_named || fail "interrupted, and it has no name"
[ ! -s "$T/err1" ] || fail "$(cat "$T/err1")"

# Who does not wait for the name, of several apps either, ends it, and what was not named is gone or goes on next time.
for signal in INT TERM; do
  rm -rf "$T/store"
  expect_exit 125 gantry-run -q store:nothing
  exec {names}<"$T/store/index.lock"
  flock "$names"
  setsid env --default-signal=INT gantry-run -q "oci:$T/img:v1" --name one -- sh -c 'exit 0' \
    --- "$image" --name two -- sh -c 'echo it runs' >"$T/out1" 2>"$T/err1" {names}<&- &
  pid=$!
  await grep -qs 'it runs' "$T/out1" || fail "not executed: $(cat "$T/err1")"
  pods_gone
  kill -0 "$pid" || fail "it did not wait for the name: $(cat "$T/err1")"
  kill -"$signal" "$pid"
  code_is $((128 + $(kill -l "$signal")))
  exec {names}<&-
  ! is_named || fail "$signal: it has a name"
  expect_exit 0 gantry-run -q "$image" sh -c 'exit 0'
  expect_exit 0 gantry-store check
done

# Whoever kills the runner kills all of it, and a collection takes away what is left.
run -q
kill -KILL "$pid"
release
code_is 137
! is_named || fail "killed, and it has a name"
expect_exit 0 gantry-store check
expect_exit 0 gantry-store gc
[ -z "$(find "$T/store/blobs" "$T/store/layers" -mindepth 2 -o -path '*/layers/*')" ] ||
  fail "left: $(find "$T/store/blobs" "$T/store/layers")"

# Who prepares a pod, and who runs it detached, have the name when they return.
for verb in prepare -d; do
  run -q
  gantry-run -q $verb "$image" /bin/sh -c 'exit 0' >"$T/out2" 2>&1 {names}<&- {in}>&- &
  second=$!
  sleep 0.5
  kill -0 "$second" || fail "$verb: it did not wait for the name: $(cat "$T/out2")"
  release
  wait "$second" || fail "$verb: $(cat "$T/out2")"
  is_named || fail "$verb: no name"
  expect_exit 0 gantry-run rm -f "$(cat "$T/out2")"
  code_is 1
done
