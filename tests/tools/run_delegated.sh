# Without root limits hold where control groups are delegated to the user, and those of the others are refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need busybox setpriv jq
[ "$(id -u)" = 0 ] || skip "delegates"
unshare -U true 2>/dev/null || skip "no user namespaces here"
[ -d /sys/fs/cgroup/pids ] || skip "control groups of version 2 are delegated by systemd: not here"

make_busybox_image "$T/image" v1
chmod -R a+rX "$T/image"
group=gantry-test-$$
for controller in pids freezer; do
  mkdir "/sys/fs/cgroup/$controller/$group" || skip "no control groups to be made"
  chown -R 65534:65534 "/sys/fs/cgroup/$controller/$group"
done
at_exit 'find /sys/fs/cgroup/*/$group -depth -type d -exec rmdir {} +'
# delegated COMMAND...: as the user, in those groups.
delegated() {
  (
    for controller in pids freezer; do echo "$BASHPID" >"/sys/fs/cgroup/$controller/$group/cgroup.procs"; done
    as_user "$@"
  )
}
run=(delegated gantry-run -q --insecure-options=image)
expect_exit 0 "${run[@]}" --pids 20 "oci:$T/image:v1" sh -c 'cat /sys/fs/cgroup/pids/pids.max /proc/self/cgroup'
expect_text '^20$' "$T/out"
! sed 1d "$T/out" | grep -v ':/$' || fail "it sees a group of the host"
expect_exit 125 "${run[@]}" --io weight=100 "oci:$T/image:v1" true
expect_text "there is no 'blkio' controller for this container" "$T/err"

rootless=yes
make_bundle '.process.args=["cat","/proc/self/cgroup"] | .linux.resources={pids:{limit:30}} | .linux.cgroupsPath="/'"$group"'/inside" |
  .linux.uidMappings[0].hostID=65534 | .linux.gidMappings[0].hostID=65534 | .linux.namespaces |= map(select(.type != "cgroup"))'
chown -R 65534:65534 "$bundle"
expect_exit 0 delegated gantry-oci --root "$T/user/state" run --bundle "$bundle" "$group"
expect_text ":pids:/$group/inside\$" "$T/out"
for _ in $(seq 100); do [ -z "$(find /sys/fs/cgroup/*/"$group" -mindepth 1 -type d)" ] && break; sleep 0.05; done
[ -z "$(find /sys/fs/cgroup/*/"$group" -mindepth 1 -type d)" ] || fail "groups are left"
