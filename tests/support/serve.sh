# shellcheck shell=bash
# shellcheck disable=SC2154  # registry and policy are lib.sh's
# For tests of gantry-serve, after lib.sh.

# start_server [OPTION...]: gantry-serve before $registry, on a free loopback port, with a cache of its own, under the
# policy in $policy. Sets $server (HOST:PORT), $server_pid and $server_log; --cache and --listen can be given.
start_server() {
  local tries=0 cache=$T/cache-$((server_count += 1))
  need curl
  server_log=$T/server-$server_count
  : >"$server_log.out"
  [[ " $* " == *" --cache "* ]] || set -- --cache "$cache" "$@"
  [[ " $* " == *" --listen "* ]] || set -- --listen 127.0.0.1:0 "$@"
  gantry-serve --upstream "docker://$registry" "$@" >"$server_log.out" 2>"$server_log" &
  server_pid=$!
  started_pids+=("$server_pid")
  until server=$(grep -om1 '127.0.0.1:[0-9]*' "$server_log.out"); do
    if ! kill -0 "$server_pid" 2>/dev/null || [ $((tries += 1)) -gt 300 ]; then
      fail "gantry-serve did not start: $(cat "$server_log")"
    fi
    sleep 0.05
  done
}
server_count=0

# status_of URL [CURL_OPTION...]: its HTTP status; the body is in $T/body, the headers in $T/headers.
status_of() {
  curl -sS -o "$T/body" -D "$T/headers" -w '%{http_code}' "$@" 2>"$T/curl.err" || true
}

# expect_status STATUS URL [CURL_OPTION...]
expect_status() {
  local want=$1 got
  shift
  got=$(status_of "$@")
  [ "$got" = "$want" ] || fail "status $got instead of $want: $* ($(head -c 500 "$T/body"))"
}

# registry_with_busybox NAME:TAG: a registry that has it there; $T/layout has it as well, with that tag.
registry_with_busybox() {
  start_registry
  make_busybox_image "$T/layout" "${1##*:}"
  push "$T/layout:${1##*:}" "$1"
}

# reload_server [PATTERN]: sends SIGHUP, and waits until the log says so, or what PATTERN matches.
reload_server() {
  local before
  before=$(grep -c -- "${1:-reloaded}" "$server_log" || :)
  kill -HUP "$server_pid"
  for _ in $(seq 100); do
    [ "$(grep -c -- "${1:-reloaded}" "$server_log" || :)" = "$before" ] || return 0
    sleep 0.05
  done
  fail "nothing was reloaded: $(cat "$server_log")"
}

# stop_server: with SIGTERM, which it has to end well with.
stop_server() {
  kill "$server_pid"
  wait "$server_pid" || fail "it ended with $?"
}

# aci_url NAME VERSION: of the App Container Image for this machine.
aci_url() {
  local arch
  arch=$(uname -m)
  [ "$arch" != x86_64 ] || arch=amd64
  printf 'http://%s/%s-%s-linux-%s.aci?version=%s' "$server" "$1" "$2" "$arch" "$2"
}
