# gantry-oci exec: one more process in the container, confined as the first.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

make_bundle '.process.args=["sleep","1000"] | .hostname="inside" | .process.env+=["A=config"] |
  .linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}'
c=gantry-test-$$
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
expect_exit 7 oci exec "$c" sh -c 'hostname; echo $A; cat /proc/self/status; ls -l /proc/self/fd; exit 7'
expect_text '^inside$' "$T/out"
expect_text '^config$' "$T/out"
# CVE-2019-10144, -10145, -10147: the profile of the first process holds for the others.
expect_text '^CapEff:.00000000800405fb$' "$T/out"
expect_text '^CapInh:.0000000000000000$' "$T/out"
expect_text '^NoNewPrivs:.1$' "$T/out"
expect_text '^Seccomp:.2$' "$T/out"
expect_exit 1 oci exec "$c" mkdir /tmp/x
expect_text 'No space left' "$T/err"
first=$(oci state "$c" | jq .pid)
oci exec --detach --pid-file "$T/pid" "$c" sleep 500 </dev/null >/dev/null 2>&1
for ns in mnt pid net ipc uts cgroup; do
  [ "$(readlink "/proc/$first/ns/$ns")" = "$(readlink "/proc/$(cat "$T/pid")/ns/$ns")" ] || fail "namespace $ns"
done
cmp "/proc/$first/cgroup" "/proc/$(cat "$T/pid")/cgroup" || fail "control groups"
[ "$(oci ps --format json "$c" | jq length)" = 2 ] || fail "$(oci ps "$c")"
expect_exit 0 oci exec -u 1000:1001 -g 7 --cwd /tmp -e A=mine -e B=2 "$c" sh -c 'id; pwd; echo $A $B; grep CapEff /proc/self/status'
expect_text 'uid=1000 gid=1001 groups=1001,7|uid=1000 gid=1001 groups=7' "$T/out"
expect_text '^/tmp$' "$T/out"
expect_text '^mine 2$' "$T/out"
# CVE-2026-30892: numbers are numbers.
for user in 1000x 01x -1 4294967295 root ''x; do
  expect_exit 2 oci exec --user "$user" "$c" true
done
jq '.process | .args=["sh","-c","echo from-file; exit 3"] | .cwd="/bin"' "$bundle/config.json" >"$T/process.json"
expect_exit 3 oci exec --process "$T/process.json" "$c"
expect_text '^from-file$' "$T/out"
expect_exit 3 oci exec "$c" no-such-program
expect_text 'executable file not found in \$PATH' "$T/err"
expect_exit 2 oci exec "$c"
oci delete --force "$c"
nothing_is_left "$c"

# In a chroot the container's root becomes that of its mount namespace, too, so that exec is in it, and letting go of
# what is above touches nobody's mounts.
# shellcheck disable=SC2016
in_chroot='
  mkdir "$T/chroot"
  mount --rbind / "$T/chroot"
  before=$(wc -l </proc/self/mountinfo)
  chroot "$T/chroot" gantry-oci --root "$T/state" run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
  chroot "$T/chroot" gantry-oci --root "$T/state" exec "$c" ls /
  chroot "$T/chroot" gantry-oci --root "$T/state" delete --force "$c"
  [ "$(wc -l </proc/self/mountinfo)" = "$before" ] || echo "mounts are gone"'
for propagation in private shared; do
  rm -rf "$T/chroot"
  T=$T bundle=$bundle c=$c expect_exit 0 unshare --mount --propagation "$propagation" bash -euc "$in_chroot"
  [ "$(tr '\n' ' ' <"$T/out")" = "bin dev etc proc sys tmp " ] || fail "exec saw $(cat "$T/out")"
done
nothing_is_left "$c"
