# A row is what somebody asks for and what comes of it, and holds in namespaces and in a virtual machine. gantry-run(1)
# has a table of what does not hold in both.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin" "$T/base/etc" "$T/data" "$T/fixed"
mkdir -m 1777 "$T/base/tmp"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id dd sleep ls touch test grep hostname; do ln -s busybox "$T/base/bin/$name"; done
printf 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n' >"$T/base/etc/passwd"
printf 'web:x:34:\n' >"$T/base/etc/group"
touch "$T/base/etc/text"
make_image "$T/image" v1 '{"Cmd":["/bin/sh"],"Env":["A=image"],"WorkingDir":"/srv","Volumes":{"/kept":{}}}' "$T/base"

# row NAME CODE OUTPUT [OPTION...] -- ARGS...: the code of the command, and what it prints, as an extended regular
# expression for all of it with blanks for ends of lines.
row() {
  local name=$1 code=$2 output=$3 status=0 said
  local options=("${@:4}") arguments=()
  for i in "${!options[@]}"; do
    [ "${options[i]}" != -- ] || { arguments=("${options[@]:i+1}"); options=("${options[@]:0:i}"); break; }
  done
  gantry-run -q --insecure-options=image "${isolation[@]}" ${options[@]+"${options[@]}"} "oci:$T/image" \
    "${arguments[@]}" >"$T/out" 2>"$T/err" <<<typed || status=$?
  said=$(tr '\n' ' ' <"$T/out")
  [ "$status" = "$code" ] || fail "${isolation[*]}: $name: exit $status, not $code: $said $(cat "$T/err")"
  [[ ${said% } =~ ^$output$ ]] || fail "${isolation[*]}: $name: printed '$said', not '$output': $(cat "$T/err")"
}

rows() {
  row 'exit code' 9 '' -- sh -c 'exit 9'
  row 'death by a signal' 137 'begun' -- sh -c 'echo begun; kill -KILL $$'
  row 'environment, working directory' 0 'image 2 /root /srv' -e B=2 -- sh -c 'echo $A $B $HOME $PWD'
  row 'user by name, host name' 0 '33 34 /srv /etc here' -u web -w /etc --hostname here -- \
    sh -c 'id -u; id -g; echo $HOME $PWD; hostname'
  row 'user by number, input' 0 '1000 7 typed' -i -u 1000:7 -- sh -c 'id -u; id -g; cat'
  row 'a user that is none' 125 '' -u nobody -- true
  row 'no input' 0 '' -- cat
  row 'volumes' 0 'shown /fixed/new /kept/new' -v "$T/data:/data" -v "$T/fixed:/fixed:ro" -- \
    sh -c 'cat /fixed/file; echo made >/data/made; for d in /fixed /kept; do touch $d/new 2>/dev/null; echo $d/new; done; test ! -e /fixed/new'
  row 'read-only root' 0 'no' --read-only -- sh -c 'touch /new 2>/dev/null || echo no'
  row 'memory' 0 '750 7 yes 64' --tmpfs /mem:size=64k,mode=0750,uid=7 -- \
    sh -c 'busybox stat -c "%a %u" /mem; cp /bin/busybox /mem/x 2>/dev/null || echo yes; busybox df -k /mem | busybox awk "/mem/ {print \$2}"'
  row 'limits' 0 '77 50 50' --ulimit nofile=50:50 --pids 77 -- \
    sh -c 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; ulimit -n; ulimit -Hn'
  row 'capabilities' 0 'CapBnd:.00000000800405fa' --cap-drop CHOWN -- grep CapBnd /proc/self/status
  row 'memory limit' 0 'limited' --memory 96m -- \
    sh -c 'for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
        read -r m <$f && [ "$m" != max ] && [ "$m" -le 100663296 ] && echo limited; done 2>/dev/null
      while read -r k v u; do [ "$k" != MemTotal: ] || [ "$v" -ge 98304 ] || echo limited; done </proc/meminfo'
  row 'a program that is not there' 127 '' -- /no/such
  row 'a program that is none' 126 '' -- /etc/text
  [ "$(cat "$T/data/made")" = made ] || fail "${isolation[*]}: the volume was not written"
  rm "$T/data/made"
}

await() { for _ in $(seq 400); do ! "$@" >/dev/null 2>&1 || return 0; sleep 0.05; done; fail "${isolation[*]}: never: $*"; }
says() { [ "$(gantry run logs "$uuid" 2>/dev/null | xargs)" = "$1" ] && [ "$(gantry run logs "$uuid" 2>&1 >/dev/null | xargs)" = "${2-}" ]; }
status() { gantry run status --json "$uuid" | jq -r "$1"; }
detach() { uuid=$(gantry run -q --insecure-options=image -d "${isolation[@]}" "${@:2}" "oci:$T/image" sh -c "$1"); }
what() { [ "$2" = "$3" ] || fail "${isolation[*]}: $1: '$2', not '$3'"; }

# A pod that runs on its own, and what is done with it from outside.
life() {
  detach 'echo out; echo err >&2; cat /proc/self/status >/tmp/status; trap "exit 3" TERM; while :; do sleep 0.05; done' --name web -e B=app -u web
  await says out err
  what state "$(status '.state + .apps[0].name + .apps[0].state')" runningwebrunning
  kill -0 "$(status .apps[0].pid)" || fail "${isolation[*]}: its process is not there"
  await grep -qx 'Seccomp:.2' "/proc/$(status .runner)/status"
  what 'the list' "$(gantry run list --json | jq -r '.[0].uuid')" "$uuid"
  what 'errors in the log' "$(gantry run logs "$uuid" 2>&1 >/dev/null)" err
  what 'the log as JSON' "$(gantry run logs --json --tail 1 "${uuid:0:8}" | jq -r '.app + .stream')" webstderr
  enter() { gantry run enter "$@"; }
  what 'who entered' "$(enter -e C=mine -w /etc "$uuid" sh -c 'echo $A $B $C $PWD; id -u; ls /tmp' | xargs)" 'image app mine /etc 33 status'
  what 'another user' "$(enter -u 0 "$uuid" id -u)" 0
  local same='^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)'
  what 'its rights' "$(enter "$uuid" grep -E "$same" /proc/self/status)" "$(enter "$uuid" grep -E "$same" /tmp/status)"
  what 'its input' "$(echo typed | enter -i "$uuid" cat)" typed
  what 'no input' "$(echo typed | enter "$uuid" cat)" ''
  head -c 300000 /dev/urandom >"$T/bytes"
  enter -i "$uuid" cat <"$T/bytes" | cmp - "$T/bytes" || fail "${isolation[*]}: input and output differ"
  expect_exit 9 enter "$uuid" sh -c 'exit 9'
  expect_exit 127 enter "$uuid" /no/such
  expect_exit 127 enter -u nobody "$uuid" true
  expect_exit 143 timeout --preserve-status -s TERM 2 gantry run enter "$uuid" sleep 60
  await sh -c "! gantry run enter $uuid sh -c 'cat /proc/[0-9]*/cmdline' | grep -qa sleep.60"
  # Nobody who does not read what it prints keeps others from anything.
  { enter "$uuid" cat /dev/zero || :; } | { sleep 3; } &
  what 'beside one that is not read' "$(sleep 0.5; enter "$uuid" id -u)" 33
  wait
  expect_exit 1 gantry run rm "$uuid"
  gantry run enter "$uuid" sleep 60 >/dev/null 2>&1 &
  local sleeper=$! code=0
  await sh -c "gantry run enter $uuid sh -c 'cat /proc/[0-9]*/cmdline' | grep -qa sleep.60"
  what 'how it stopped' "$(gantry run stop --json "$uuid" | jq -r .[0].how)" stopped
  wait "$sleeper" || code=$?
  what 'the end of who was in it' "$code" 137
  what 'state and code' "$(status '.state + (.code | tostring)')" exited3
  expect_exit 125 gantry run enter "$uuid" true
  expect_exit 0 gantry run gc
  what 'kept by gc' "$(status .state)" exited
  expect_exit 0 gantry run rm "$uuid"
  expect_exit 3 gantry run status "$uuid"
}

# The image's health check, in the container of its app.
health() {
  uuid=$(gantry run -q --insecure-options=image -d "${isolation[@]}" "oci:$T/checked" sleep 1000)
  expect_exit 0 gantry run status --wait-ready "$uuid"
  what 'a healthy one' "$(status '.apps[0] | .health + .healthOutput' | xargs)" 'healthyfine 34'
  gantry run enter -u 0 "$uuid" sh -c 'busybox mv /etc/text /etc/other'
  await sh -c "gantry run status --json $uuid | grep -q '\"unhealthy\"'"
  gantry run rm -f "$uuid" >/dev/null
}

# One that hears nothing, and one that reads and is attached to.
ends() {
  detach 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
  await says ready
  what 'how it stopped' "$(gantry run stop --time 1 --json "$uuid" | jq -r .[0].how)" killed
  await sh -c "gantry run status $uuid | grep -q state=exited"
  what 'code' "$(status .code)" 137
  gantry run rm "$uuid" >/dev/null
  detach 'while read -r line; do echo "got $line"; done; exit 6' -i --rm
  expect_exit 6 gantry run attach "$uuid" < <(echo one && sleep 0.2 && echo two)
  what 'what was attached' "$(xargs <"$T/out")" 'got one got two'
  await sh -c "test -z \"\$(ls -A '$T/store/pods')\""
  expect_exit 127 gantry run -q --insecure-options=image -d "${isolation[@]}" "oci:$T/image" /no/such
  expect_text "cannot execute '/no/such'" "$T/err"
  uuid=$(gantry run list -q)
  gantry run status --wait "$uuid" >/dev/null
  what 'the code of one that never ran' "$(status .code)" 127
  gantry run rm "$uuid" >/dev/null
}

make_image "$T/checked" v1 '{"Cmd":["/bin/sh"],"User":"web","Healthcheck":{"Interval":200000000,"Retries":1,
  "Test":["CMD-SHELL","test -e /etc/text && echo fine && id -g"]}}' "$T/base"
echo shown >"$T/fixed/file"
isolation=(--isolation=namespaces)
rows
life
health
ends
isolation=(--isolation=vm "${kernel[@]}")
rows
life
health
ends
