# Who attaches to a detached pod sees what it writes, types to it, learns its code, and leaves it with ^P^Q.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox expect jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
uuid=$("${run[@]}" -di "oci:$T/image:v1" sh -c 'while read -r line; do echo "got $line"; done; exit 6')
expect_exit 6 gantry run attach "$uuid" < <(echo one && sleep 0.2 && echo two)
[ "$(xargs <"$T/out")" = "got one got two" ] || fail "$(cat "$T/out")"
[ "$(gantry run logs "$uuid" | xargs)" = "got one got two" ] || fail "the log has something else"
expect_exit 125 gantry run attach "$uuid" # it has ended

uuid=$("${run[@]}" -dit "oci:$T/image:v1" sh)
cat >"$T/dialogue" <<'END'
set timeout 20
proc need {pattern} {
  expect -re $pattern {} timeout { puts "missing: $pattern"; exit 1 } eof { puts "ended before: $pattern"; exit 1 }
}
proc attach {} {
  global spawn_id
  spawn gantry-run attach $::env(UUID)
  stty rows 31 cols 97 < $spawn_out(slave,name)
}
attach
send "echo he\\llo\r"
need {hello}
send "\020\021"
expect eof
lassign [wait] pid spawn error code
if {$code != 0} { puts "detached with $code"; exit 1 }
attach
send "tty; exit 7\r"
need {/dev/(console|pts/0)}
expect eof
lassign [wait] pid spawn error code
puts "code $code"
exit [expr {$code != 7}]
END
UUID=$uuid expect -f "$T/dialogue" >"$T/said" || fail "$(cat "$T/said")"
[ "$(gantry run status --json "$uuid" | jq .code)" = 7 ] || fail "its code"
