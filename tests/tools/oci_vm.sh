# The annotation dev.gantry.isolation=vm: gantry-oci gives a bundle's container a kernel of its own, and engines see no
# difference in its life.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

machine='.annotations={"dev.gantry.isolation":"vm","dev.gantry.accel":"tcg"}'
[ ${#kernel[@]} = 1 ] || machine="$machine"' | .annotations["dev.gantry.kernel"]="'"${kernel[2]}"'"'
c=gantry-test-$$
status() { oci state "$c" | jq -r .status; }
alive() { grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null; }
gone() { for _ in $(seq 100); do alive "$1" || return 0; sleep 0.05; done; fail "$(cat "/proc/$1/comm") is left"; }
await() { for _ in $(seq 200); do [ "$(status)" != "$1" ] || return 0; sleep 0.05; done; fail "$c is $(status), not $1"; }

# What the configuration says holds in it: streams, code, user, environment, mounts, limits, filter, masks.
mkdir "$T/data" "$T/fixed"
echo shown >"$T/fixed/file"
make_bundle "$machine"' | .hostname="inside" | .process.cwd="/tmp" | .process.user={"uid":7,"gid":8,"additionalGids":[9]}
  | .process.env+=["A=b"] | .process.rlimits=[{"type":"RLIMIT_NOFILE","soft":99,"hard":100}]
  | .process.args=["sh","-c","read x; echo $x $A $(pwd) $(id -u):$(id -g) $(hostname); cat /fixed/file /etc/shown; echo made >/data/made
      ! touch /fixed/x 2>/dev/null || exit 1; echo t >/memory/t && ls /memory; ulimit -n; cat /proc/sys/net/ipv4/ip_forward /sys/fs/cgroup/pids.max
      grep -E \"^(CapEff|NoNewPrivs|Seccomp):\" /proc/self/status; grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo
      uname -r; wc -c </proc/timer_list; mkdir /x 2>&1; echo text >&2; exit 9"]
  | .mounts+=[{"destination":"/data","type":"bind","source":"'"$T/data"'","options":["rbind","rw"]},
      {"destination":"/fixed","type":"bind","source":"'"$T/fixed"'","options":["bind","ro"]},
      {"destination":"/etc/shown","type":"bind","source":"'"$T/fixed/file"'","options":["bind","ro","rprivate"]},
      {"destination":"/memory","type":"tmpfs","source":"tmpfs","options":["size=64k"]}]
  | .linux.sysctl={"net.ipv4.ip_forward":"1"} | .linux.resources.pids.limit=77 | .linux.resources.memory.limit=134217728
  | .linux.resources.cpu={"quota":150000,"period":100000}
  | .linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
      "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}'
ln -s busybox "$bundle/rootfs/bin/wc"
chmod 0777 "$T/data"
echo input >"$T/in"
expect_exit 9 oci run --bundle "$bundle" "$c" <"$T/in"
for line in 'input b /tmp 7:8 inside' shown t 99 1 77 2 'NoNewPrivs:.1' 'Seccomp:.2' 0 '.*Operation not supported|.*Not supported'; do
  grep -qxE "$line" "$T/out" || fail "no line '$line': $(cat "$T/out" "$T/err")"
done
[ "$(grep -cx shown "$T/out")" = 2 ] || fail "bind mounts: $(cat "$T/out")"
[ "$(cat "$T/err")" = text ] || fail "standard error: $(cat "$T/err")"
[ "$(stat -c %u:%g "$T/data/made")" = 7:8 ] || fail "what it wrote is not the user's"
! grep -qxF "$(uname -r)" "$T/out" || fail 'it ran in the kernel of the host'
memory=$(awk '$1 == "MemTotal:" {print $2}' "$T/out")
[ "$memory" -gt 70000 ] && [ "$memory" -lt 131072 ] || fail "the memory is $memory KiB"
nothing_is_left "$c"

# Its life: created, started, entered, paused, told signals, ended, deleted.
make_bundle "$machine"' | .process.args=["sh","-c","trap \"echo told; exit 3\" USR1; echo up; while :; do sleep 0.05; done"]'
oci create --bundle "$bundle" --pid-file "$T/pid" "$c" </dev/null >"$T/said" 2>&1 || fail "$(cat "$T/said")"
[ "$(cat "$T/pid")" = "$(oci state "$c" | jq .pid)" ] || fail "the pid file says $(cat "$T/pid")"
[ "$(status)" = created ] && [ ! -s "$T/said" ] || fail "it ran before it was started: $(cat "$T/said")"
oci start "$c"
[ "$(status)" = running ] || fail "it is $(status)"
expect_exit 1 oci start "$c"
expect_exit 5 oci exec --env B=2 --cwd /etc "$c" sh -c 'cat; echo $B $(pwd) $(cat /proc/1/comm); echo bad >&2; exit 5' <"$T/in"
[ "$(xargs <"$T/out")" = 'input 2 /etc sh' ] && [ "$(cat "$T/err")" = bad ] || fail "exec: $(cat "$T/out" "$T/err")"
expect_exit 3 oci exec "$c" /no/such
expect_text "cannot execute '/no/such': no such file" "$T/err"
# Device rules are those of the bundle: nodes can be made, and not used.
expect_exit 1 oci exec --cap CAP_MKNOD "$c" sh -c 'busybox mknod /dev/k c 1 11 && busybox mknod /dev/z c 1 5 && busybox head -c 1 /dev/z && cat /dev/k'
expect_text '/dev/k.*Operation not permitted' "$T/err"
oci exec --detach --pid-file "$T/pid" "$c" sleep 1000 </dev/null >/dev/null 2>&1
alive "$(cat "$T/pid")" || fail "the entered process is not there"
oci pause "$c"
[ "$(status)" = paused ] || fail "it is $(status), not paused"
oci resume "$c"
expect_exit 7 oci update --memory 1G "$c"
expect_exit 1 oci delete "$c"
oci kill "$c" STOP # of the process, not of its machine
expect_exit 0 oci exec "$c" sh -c 'grep "^State:.T" /proc/1/status'
oci kill "$c" CONT
oci kill "$c" USR1
await stopped
[ "$(xargs <"$T/said")" = 'up told' ] || fail "it said $(cat "$T/said")"
gone "$(cat "$T/pid")"
oci delete "$c"
nothing_is_left "$c"

# Killed, nothing of it is left, the machine least of all; one that is only created is deleted.
oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
oci start "$c"
pids=$(oci ps --format json "$c" | jq -r '.[]')
[ "$(wc -w <<<"$pids")" -ge 3 ] || fail "there are no attendant, machine and file server: $pids"
oci kill "$c" KILL
await stopped
oci delete "$c"
nothing_is_left "$c"
for pid in $pids; do gone "$pid"; done
oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
oci kill "$c" TERM
await stopped
oci delete "$c"
oci create --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
oci delete "$c"
nothing_is_left "$c"

# Its terminal is the caller's.
if command -v script >/dev/null; then
  make_bundle "$machine"' | .process.terminal=true | .process.args=["sh","-c","tty; busybox stty size; exit 4"]'
  expect_exit 4 script -qec "stty rows 33 cols 77; gantry-oci --root '$T/state' run --bundle '$bundle' $c" /dev/null </dev/null
  expect_text '/dev/pts/0' "$T/out"
  expect_text '^33 77' "$T/out"
fi
