# On a terminal gantry trust add shows the key and asks before it trusts it, for a scope and for a name alike: without a yes
# nothing changes; --yes and the right --fingerprint answer, a wrong one refuses.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg expect script

make_gpg_key tester
# ask ANSWER EXIT ARGUMENT...: what is asked, what is answered, and how it ends.
ask() {
  cat >"$T/dialogue" <<'END'
set timeout 20
spawn {*}[lrange $argv 2 end]
expect -re {key ([0-9A-F]{40})\s+tester <tester@example.com>.*trust it for images of (\S+).*\[y/N\] } {} timeout { exit 99 } eof { exit 98 }
send "[lindex $argv 0]\r"
expect eof
exit [expr {[lindex [wait] 3] == [lindex $argv 1] ? 0 : 97}]
END
  expect "$T/dialogue" "$@" >"$T/screen" 2>&1 || fail "$*: $(cat "$T/screen")"
  expect_text "$fingerprint" "$T/screen"
}
keys=$XDG_CONFIG_HOME/gantry/trustedkeys
cp "$policy" "$T/before"
for answer in n '' no Yes; do
  ask "$answer" 4 gantry trust add --prefix example.com/app "$T/tester.pub.gpg"
  ask "$answer" 4 gantry trust add --key "$T/tester.pub.gpg" docker://quay.io/org/app
done
[ ! -e "$keys" ] && [ ! -e "${policy%/*}/keys" ] && cmp -s "$policy" "$T/before" || fail "trusted without a yes"
ask y 0 gantry trust add --prefix example.com/app "$T/tester.pub.gpg"
[ -s "$keys/prefix.d/example.com/app/${fingerprint,,}" ] || fail "not trusted after a yes"
ask yes 0 gantry trust add --root "$T/tester.pub.gpg"
ask y 0 gantry trust add --key "$T/tester.pub.gpg" docker://quay.io/org/app
expect_exit 0 script -qec "gantry trust add --yes --root $T/tester.pub.gpg" /dev/null
expect_exit 0 script -qec "gantry trust add --fingerprint $fingerprint --root $T/tester.pub.gpg" /dev/null
expect_exit 4 script -qec "gantry trust add --fingerprint ${fingerprint/[0-9]/F} --root $T/tester.pub.gpg" /dev/null
