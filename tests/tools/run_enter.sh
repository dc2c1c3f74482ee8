# A command that enters a pod is where its app is, with no more rights than it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
uuid=$(gantry run -q --insecure-options=image -d --cap-drop CHOWN --ulimit nofile=100:200 -e A=app "oci:$T/image:v1" \
  sh -c 'cat /proc/self/status >/status; cat /proc/self/cgroup >/cgroup; touch /ready; exec sleep 1000')
for _ in $(seq 100); do gantry run enter "$uuid" test -e /ready && break || sleep 0.05; done
enter() { gantry run enter "$@"; }

same='^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)'
enter "$uuid" sh -c 'cat /status' | grep -E "$same" >"$T/app"
enter "$uuid" sh -c 'cat /proc/self/status' | grep -E "$same" >"$T/entered"
diff "$T/app" "$T/entered" || fail "what entered has other rights"
expect_text '^CapEff:.00000000800405fa$' "$T/entered"
[ "$(enter "$uuid" sh -c 'cmp /cgroup /proc/self/cgroup && echo same')" = same ] || fail "other control groups"
[ "$(enter "$uuid" sh -c 'ulimit -n; ulimit -Hn' | xargs)" = "100 200" ] || fail "other limits"
[ "$(enter -e B=mine -w /etc "$uuid" -- sh -c 'echo $A $B $(pwd)')" = "app mine /etc" ] || fail "environment or directory"
[ "$(enter -u 1000:7 "$uuid" id -u)" = 1000 ] || fail "another user"
[ "$(echo typed | enter -i "$uuid" cat)" = typed ] || fail "standard input"
[ -z "$(echo typed | enter "$uuid" cat)" ] || fail "standard input that nobody gave"
expect_exit 9 enter "$uuid" sh -c 'exit 9'
for program in /no/such no-such; do
  expect_exit 127 enter --json "$uuid" "$program"
  expect_text "cannot execute '$program'" "$T/err"
  expect_text '"code":127' "$T/err"
done
expect_exit 126 enter "$uuid" /etc/passwd
expect_text 'see what the image holds' "$T/err"
expect_exit 137 enter "$uuid" sh -c 'kill -9 $$'
expect_exit 0 enter --json "$uuid" true
[ "$(jq .code "$T/err")" = 0 ] || fail "no JSON"
expect_exit 125 enter no-such-pod true
ls -l /proc/self/fd 3</dev/null >/dev/null
[ "$(enter "$uuid" ls /proc/self/fd 3</dev/null | xargs)" = "0 1 2 3" ] || fail "it has a descriptor of ours" # 3: ls's own
gantry run rm -f "$uuid" >/dev/null
