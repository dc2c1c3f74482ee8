# CVE-2019-16884, CVE-2019-19921: a security label is written to the kernel and not to what a container has at /proc,
# for its first process and for one that comes in; what cannot be labelled is not started.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
[ ! -e /sys/module/apparmor/parameters/enabled ] || skip "this kernel has AppArmor"
in_namespaces_of_its_own --mount
c=gantry-test-$$

# A /proc of the container's making, where the write would succeed.
make_bundle '.process.args=["sleep","1000"] | .mounts |= map(select(.destination != "/proc")) | .linux.maskedPaths=[] | .linux.readonlyPaths=[]'
fake=$bundle/rootfs/proc/thread-self/attr
mkdir -p "$fake/apparmor" "$bundle/rootfs/proc/self"
ln -s ../thread-self/attr "$bundle/rootfs/proc/self/attr"
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
: >"$fake/exec"
: >"$fake/apparmor/exec"

# A host that says it has AppArmor, with a kernel that does not.
mount -t tmpfs tmpfs /sys/module
mkdir -p /sys/module/apparmor/parameters
echo Y >/sys/module/apparmor/parameters/enabled
change_bundle '.process.apparmorProfile="confined"'
for process in 'run --bundle '"$bundle $c-2" "exec --apparmor confined $c true"; do
  # shellcheck disable=SC2086
  expect_exit 1 oci $process
  expect_text "set the security label" "$T/err"
  [ ! -s "$fake/apparmor/exec" ] || fail "$process: written to a file of the container: $(cat "$fake/apparmor/exec")"
  [ ! -s "$fake/exec" ] || fail "$process: written to a file of the container: $(cat "$fake/exec")"
done
oci delete --force "$c"
nothing_is_left "$c"
nothing_is_left "$c-2"
