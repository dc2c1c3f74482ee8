# A process made to get out of the container does not: a case for each class of escape by descriptors, terminals,
# control groups and labels that runtimes have had. oci_hostile_root has those by mounts.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$
mkdir -p "$T/host"
echo precious >"$T/host/file"

# CVE-2019-5736: what waits in the container is no copy of the runtime, and nothing that could be written to.
make_bundle '.process.args=["sleep","100"]'
oci create --pid-file "$T/pid" --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
[[ $(readlink "/proc/$(cat "$T/pid")/exe") == /memfd:* ]] || fail "init is $(readlink "/proc/$(cat "$T/pid")/exe")"
# CVE-2017-5226: a session of its own, so that nothing can be pushed into the caller's terminal.
[ "$(ps -o sid= -p "$(cat "$T/pid")" | tr -d ' ')" = "$(cat "$T/pid")" ] || fail "it is in our session"
oci start "$c"
oci exec --detach --pid-file "$T/pid" "$c" sleep 100 </dev/null >/dev/null 2>&1
[ "$(ps -o sid= -p "$(cat "$T/pid")" | tr -d ' ')" = "$(cat "$T/pid")" ] || fail "exec: it is in our session"
oci delete --force "$c"
# The same: a program of the image that asks for whoever executes it as its interpreter does not get the runtime.
make_bundle '.process.args=["/self","--version"]'
printf '#!/proc/self/exe\n' >"$bundle/rootfs/self"
chmod 0755 "$bundle/rootfs/self"
oci run --bundle "$bundle" "$c" >"$T/out" 2>"$T/err" && fail "it was executed: $(cat "$T/out")"
[ ! -s "$T/out" ] || fail "it was the runtime: $(cat "$T/out")"
nothing_is_left "$c"
# CVE-2024-21626: no descriptor of ours, and no working directory through one.
make_bundle '.process.args=["ls","/proc/self/fd"]'
exec 8<"$T/host" 9<"$T/host"
run_bundle 0
[ "$(xargs <"$T/out")" = '0 1 2 3' ] || fail "descriptors: $(xargs <"$T/out")"
for fd in 3 4 5 6 7 8 9 10; do
  make_bundle ".process.args=[\"cat\",\"file\"] | .process.cwd=\"/proc/self/fd/$fd\""
  oci run --bundle "$bundle" "$c" >"$T/out" 2>&1 && fail "a working directory outside: $fd"
  ! grep -q precious "$T/out" || fail "the host's file was read"
done
exec 8<&- 9<&-
# Nor is one of ours taken for one that the caller has to give.
make_bundle '.process.args=["sleep","100"]'
expect_exit 2 oci run --preserve-fds 1 --bundle "$bundle" "$c" 3<&-
expect_text 'is to be preserved and is not open' "$T/err"
nothing_is_left "$c"
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
expect_exit 2 oci exec --preserve-fds 1 "$c" true 3<&-
expect_text 'is to be preserved and is not open' "$T/err"
oci delete --force "$c"
# CVE-2023-25809: control groups of the host cannot be written.
make_bundle '.process.args=["sh","-c","for f in /sys/fs/cgroup/*/cgroup.procs; do echo 1 >$f && exit 9; done; exit 0"]'
run_bundle 0
# CVE-2019-16884: without a /proc there is none to be fooled by, and the container runs.
make_bundle '.process.args=["true"] | .mounts |= map(select(.destination != "/proc")) | .process.apparmorProfile="x" | .process.selinuxLabel="y"'
[ -e /sys/fs/selinux/enforce ] || [ -e /sys/module/apparmor/parameters/enabled ] || run_bundle 0
