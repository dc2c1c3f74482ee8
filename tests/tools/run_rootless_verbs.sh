# Every verb for pods works for an ordinary user: without a range of ids, and with one where there is one.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox setpriv jq
[ "$(id -u)" = 0 ] || skip "makes throw-away users"
unshare -U true 2>/dev/null || skip "no user namespaces here"

make_busybox_image "$T/image" v1
chmod -R a+rX "$T/image"
image=oci:$T/image:v1
check() { [ "$2" = "$3" ] || fail "$user: $1: expected '$3', got '$2'"; }
as() {
  setpriv --reuid="$user" --regid="$user" --clear-groups env HOME="$home" GANTRY_ROOT="$home/store" TMPDIR="$home" \
    XDG_CONFIG_HOME="$home" gantry run "$@"
}
run() { as -q --insecure-options=image "$@"; }
eventually() { for _ in $(seq 200); do "$@" && return; sleep 0.05; done; fail "$user: never: $*"; }
said() { [ "$(as logs "$1" 2>/dev/null | xargs)" = "$2" ]; }
state() { as status --json "$1" | jq -r .state; }
empty() { [ -z "$(ls -A "$home/store/pods")" ]; }
is() { [ "$(state "$1")" = "$2" ]; }

verbs() {
  local uuid pid
  home=$T/home-$user
  mkdir -p "$home"
  chown "$user:$user" "$home"

  uuid=$(run prepare "$image" sh -c 'echo prepared; exit 5')
  check prepare "$(state "$uuid")" prepared
  expect_exit 5 as -q --insecure-options=image run-prepared "$uuid"
  check run-prepared "$(cat "$T/out")" prepared
  check "code after" "$(as status --json "$uuid" | jq .code)" 5
  expect_exit 0 as rm "$uuid"

  uuid=$(run -d --name web "$image" sh -c 'echo out; echo x >/made; trap "exit 3" TERM; while :; do sleep 0.05; done')
  eventually said "$uuid" out
  check list "$(as list --json | jq -r '.[0].state + " " + .[0].apps[0].name')" "running web"
  check cat-manifest "$(as cat-manifest "$uuid" | jq -r '.apps[0].name')" web
  check enter "$(as enter "$uuid" sh -c 'cat /made; id -u' | xargs)" "x 0"
  check "code of enter" "$(as enter "$uuid" sh -c 'exit 9' || echo $?)" 9
  check "enter as its user" "$(echo typed | as enter -i "$uuid" cat)" typed
  pid=$(as status --json "$uuid" | jq '.apps[0].pid')
  check "who is root" "$(stat -c %u "/proc/$pid")" "$(id -u "$user" 2>/dev/null || echo "$user")"
  expect_exit 1 as rm "$uuid"
  expect_exit 0 as stop "$uuid"
  check "code of stop" "$(as status --json "$uuid" | jq .code)" 3
  as export "$uuid" >"$T/tar"
  check export "$(tar -xOf "$T/tar" ./made 2>/dev/null || tar -xOf "$T/tar" made)" x
  expect_exit 0 as gc
  is "$uuid" exited || fail "gc took what had just ended"
  expect_exit 0 as gc --grace-period 0
  expect_exit 3 as status "$uuid"

  uuid=$(run -di "$image" sh -c 'while read -r line; do echo "got $line"; done; exit 6')
  expect_exit 6 as attach "$uuid" < <(echo one && sleep 0.2 && echo two)
  check attach "$(xargs <"$T/out")" "got one got two"
  said "$uuid" "got one got two" || fail "$user: the log has something else"
  as rm "$uuid" >/dev/null

  # Killed with all that attends to it, and collected.
  uuid=$(run -d "$image" sh -c 'echo x >/made; exec sleep 1000')
  pid=$(as status --json "$uuid" | jq .runner)
  pkill -KILL -P "$pid" -x gantry-keeper || true
  kill -KILL "$pid"
  eventually is "$uuid" killed
  expect_exit 0 as gc --grace-period 0
  expect_exit 3 as status "$uuid"
  uuid=$(run -d --rm "$image" sleep 1000)
  expect_exit 0 as rm -f "$uuid"
  eventually empty
}

user=54321
verbs
command -v newuidmap >/dev/null && command -v useradd >/dev/null || skip "no newuidmap or useradd: the rest is not tested"
user=gantry-verbs-$$
useradd -M "$user"
at_exit 'userdel "$user"'
grep -q "^$user:" /etc/subuid || skip "useradd gives no range here"
verbs
