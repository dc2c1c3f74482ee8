# -it gives the container a terminal of its own that follows ours: its size, its resizes, ^C, and its end.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox expect
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh stty tty cat sleep; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"

cat >"$T/dialogue" <<'END'
set timeout 20
proc need {pattern} {
  expect -re $pattern {} timeout { puts "missing: $pattern"; exit 1 } eof { puts "ended before: $pattern"; exit 1 }
}
set env(TERM) vt100
spawn gantry-run -q --insecure-options=image -it oci:$env(IMAGE)
stty rows 31 cols 97 < $spawn_out(slave,name)
need {# }
send "tty; echo term=\$TERM\r"
need {/dev/(console|pts/0)}
need {term=vt100}
send "stty size\r"
need {31 97}
stty rows 40 cols 120 < $spawn_out(slave,name)
sleep 0.3
send "stty size\r"
need {40 120}
send "sleep 100\r"
sleep 0.3
send "\003"
send "echo after-\$?\r"
need {after-130}
send "exit 7\r"
expect eof
lassign [wait] pid spawn error code
puts "code $code"
exit [expr {$code != 7}]
END
IMAGE=$T/image expect -f "$T/dialogue" >"$T/said" || fail "$(cat "$T/said")"

# What is piped in arrives, and its end is the end of file.
expect_exit 0 gantry-run -q --insecure-options=image -it "oci:$T/image" cat <<<'hello'
expect_text 'hello' "$T/out"
