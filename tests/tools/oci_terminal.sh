# A bundle's terminal: served in the foreground, sized, out of the container's own devpts.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need expect
[ "$(id -u)" = 0 ] || skip "root's way"

make_bundle '.process.args=["sh"] | .process.env+=["PS1=# "]'
ln -s busybox "$bundle/rootfs/bin/stty"
change_bundle '.process.terminal=true'
cat >"$T/dialogue" <<'END'
set timeout 20
proc need {pattern} {
  expect -re $pattern {} timeout { puts "missing: $pattern"; exit 1 } eof { puts "ended before: $pattern"; exit 1 }
}
spawn gantry-oci --root $env(STATE) run --bundle $env(BUNDLE) gantry-test-tty
stty rows 31 cols 97 < $spawn_out(slave,name)
need {# }
send "tty; ls -l /dev/console\r"
need {/dev/(console|pts/0)}
need {crw.*/dev/console}
stty rows 40 cols 120 < $spawn_out(slave,name)
send {until test "$(stty size)" = '40 12'0; do sleep 0.1; done; echo resi'zed'}
send "\r"
need {resized}
send "echo sleep's'; sleep 100\r"
need {sleeps}
sleep 0.3
send "\003"
send "echo after-\$?\r"
need {after-130}
send "exit 7\r"
expect eof
lassign [wait] pid spawn error code
exit [expr {$code != 7}]
END
STATE=$T/state BUNDLE=$bundle expect -f "$T/dialogue" >"$T/said" || fail "$(cat "$T/said")"
nothing_is_left gantry-test-tty
# Who detaches has to say where the terminal is to go.
expect_exit 2 oci create --bundle "$bundle" x1
expect_text 'console socket' "$T/err"
