# Hooks run in the specification's order, where they belong, with the state on their standard input; a failure ends it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

cat >"$T/hook" <<END
#!/bin/sh
read -r state
printf '%s %s %s %s\n' "\$1" "\$(echo "\$state" | jq -r '.status,.pid' | xargs)" "\$A" "\$(readlink /proc/self/ns/mnt)" >>$T/log
END
chmod +x "$T/hook"
host=$(readlink /proc/self/ns/mnt)
hook() { printf '.hooks.%s=[{"path":"%s","args":["hook","%s"],"env":["A=1","PATH=%s"]}]' "$1" "$2" "$1" "$PATH"; }
filter='.process.args=["sh","-c","echo process >>/log"]'
for kind in prestart createRuntime createContainer poststart poststop; do filter+=" | $(hook $kind "$T/hook")"; done
filter+=' | .hooks.startContainer=[{"path":"/bin/sh","args":["sh","-c","grep -o \"\\\"pid\\\":[0-9]*\" >>/log"]}]'
make_bundle "$filter"
run_bundle 0
[ "$(cut -d' ' -f1 "$T/log" | xargs)" = "prestart createRuntime createContainer poststart poststop" ] || fail "$(cat "$T/log")"
expect_text "^prestart creating [0-9]+ 1 mnt" "$T/log"
expect_text "^createContainer creating 1 1 mnt" "$T/log"
expect_text "^poststart running [0-9]+ 1 mnt" "$T/log"
expect_text "^poststop stopped 0 1 mnt" "$T/log"
for kind in prestart createRuntime poststart poststop; do grep "^$kind" "$T/log" | grep -Fq "$host" || fail "$kind: $(cat "$T/log")"; done
grep '^createContainer' "$T/log" | grep -Fqv "$host" || fail "createContainer ran outside"
[ "$(xargs <"$bundle/rootfs/log")" = 'pid:1 process' ] || fail "$(cat "$bundle/rootfs/log")"

# What is made meanwhile in the runtime's own memory has a stack of 1 MiB there, below which nothing can be written.
make_bundle ".process.args=[\"true\"] | $(hook prestart /bin/sh) | .hooks.prestart[0].args=[\"sh\",\"-c\",\"cat /proc/\$PPID/maps >$T/maps\"]"
run_bundle 0
perl -ne '($from, $to, $access) = /^(\w+)-(\w+) (\S+)/; $found ||= $from eq $end && "$before$access" eq "---prw-p" && hex($to) - hex($from) == 1 << 20;
  ($end, $before) = ($to, $access); END { exit !$found }' "$T/maps" || fail "no guard: $(cat "$T/maps")"

for kind in prestart createRuntime createContainer startContainer poststart; do
  make_bundle ".process.args=[\"true\"] | .hooks.$kind=[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo why-not; exit 9\"]}] |
    .hooks.poststop=[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"cat >>$T/undone\"]}]"
  run_bundle 1
  expect_text "hook '/bin/sh': it ended with 9 .*why-not" "$T/err"
  # It goes on as if it were deleted: what was made for it by one hook is undone by another.
  [ "$(jq -r .status "$T/undone")" = stopped ] || fail "$kind: $(cat "$T/undone")"
  rm "$T/undone"
done
# By the time that start says so, nothing runs any more.
for _ in 1 2 3 4 5; do
  make_bundle '.process.args=["true"] | .hooks.startContainer=[{"path":"/bin/false"}]'
  oci create --bundle "$bundle" "gantry-test-$$" </dev/null >/dev/null 2>&1
  expect_exit 1 oci start "gantry-test-$$"
  [ "$(oci state "gantry-test-$$" | jq -r .status)" = stopped ] || fail "$(oci state "gantry-test-$$")"
  oci delete "gantry-test-$$"
done
# It ends by itself, with a code that says why: its parent, who adopted it from create, sees no signal.
subreaper=167
[ "$(uname -m)" != x86_64 ] || subreaper=157
make_bundle '.process.args=["/bin/text"]'
printf 'text' >"$bundle/rootfs/bin/text"
chmod 0755 "$bundle/rootfs/bin/text"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  bundle=$bundle perl -e 'my ($prctl, $file, $id, @oci) = @ARGV; syscall($prctl, 36, 1, 0, 0, 0) == 0 or die $!;
    system(@oci, "create", "--bundle", $ENV{bundle}, "--pid-file", $file, $id) == 0 or die;
    open my $in, "<", $file or die $!; my $pid = <$in>; system(@oci, "start", $id); waitpid($pid, 0) == $pid or die $!;
    print "$?\n"' "$subreaper" "$T/pid" "gantry-test-$$" gantry-oci --root "$T/state" </dev/null >"$T/code" 2>/dev/null
  [ "$(cat "$T/code")" = $((126 << 8)) ] || fail "its status is $(cat "$T/code")"
  oci delete "gantry-test-$$"
done
# What was running by then has ended, and is there to be deleted.
make_bundle '.process.args=["sleep","1000"] | .hooks.poststart=[{"path":"/bin/false"}]'
oci create --bundle "$bundle" "gantry-test-$$" </dev/null >/dev/null 2>&1
expect_exit 1 oci start "gantry-test-$$"
expect_text "hook '/bin/false'" "$T/err"
! grep -q -- --verbose "$T/err" || fail "an option that there is not: $(cat "$T/err")"
[ "$(oci state "gantry-test-$$" | jq -r .status)" = stopped ] || fail "$(oci state "gantry-test-$$")"
oci delete "gantry-test-$$"
nothing_is_left "gantry-test-$$"
# Until the container is set up, its process is still among the host's files: nobody gets in.
c=gantry-test-$$
for kind in prestart createRuntime createContainer; do
  rm -f "$T/reached" "$T/go"
  make_bundle ".process.args=[\"sleep\",\"1000\"] |
    .hooks.$kind=[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"touch $T/reached; while [ -e $T/reached ] && ! [ -e $T/go ]; do sleep 0.05; done\"],\"env\":[\"PATH=$PATH\"]}]"
  oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1 &
  until [ -e "$T/reached" ]; do sleep 0.02; done
  [ "$(oci state "$c" | jq -r .status)" = creating ] || fail "$kind: $(oci state "$c")"
  expect_exit 1 oci exec "$c" sh -c 'ls /'
  expect_text 'is being created' "$T/err"
  [ ! -s "$T/out" ] || fail "$kind: exec saw the host: $(cat "$T/out")"
  expect_exit 1 oci pause "$c"
  expect_exit 1 oci update --memory 100000000 "$c"
  expect_exit 1 oci start "$c"
  touch "$T/go"
  wait $! || fail "$kind: create failed"
  [ "$(oci state "$c" | jq -r .status)" = created ] || fail "$kind: $(oci state "$c")"
  expect_exit 0 oci exec "$c" ls /
  [ "$(xargs <"$T/out")" = "bin dev etc proc sys tmp" ] || fail "$kind: exec saw $(xargs <"$T/out")"
  oci delete --force "$c"
done
make_bundle '.process.args=["true"] | .hooks.poststop=[{"path":"/no/such"}]'
run_bundle 0
expect_text "hook '/no/such'" "$T/err"
make_bundle '.process.args=["true"] | .hooks.createContainer=[{"path":"/bin/sleep","args":["sleep","50"],"timeout":1}]'
run_bundle 1
expect_text 'longer than its timeout' "$T/err"
