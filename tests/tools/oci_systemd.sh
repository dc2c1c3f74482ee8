# --systemd-cgroup: systemd, asked by busctl, makes the scope that the container joins; where it is not, that is said.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$

make_bundle '.process.args=["cat","/proc/1/cgroup"] | .linux.cgroupsPath="gantry-test.slice:pre:'"$c"'" | .linux.namespaces |= map(select(.type != "cgroup"))'
if [ ! -d /run/systemd/system ]; then
  expect_exit 7 oci --systemd-cgroup run --bundle "$bundle" "$c"
  expect_text 'systemd does not run this machine' "$T/err"
fi
expect_exit 2 oci --systemd-cgroup --rootless=false create --bundle "$(make_bundle '.linux.cgroupsPath="/plain"' && echo "$bundle")" "$c"
[ -d /sys/fs/cgroup/systemd ] && [ ! -d /run/systemd/system ] || skip "the rest needs cgroup v1 without systemd"

# A stand-in for systemd: it puts the process that it is given into the scope, and is given what a scope needs.
mkdir "$T/bin"
cat >"$T/bin/busctl" <<END
#!/bin/sh
printf '%s\n' "\$*" >>$T/calls
while [ \$# -gt 1 ]; do
  [ "\$1" != StartTransientUnit ] || unit=\$3
  [ "\$1" != PIDs ] || pid=\$4
  shift
done
mkdir -p /sys/fs/cgroup/systemd/gantry.slice/gantry-test.slice/\$unit
echo \$pid >/sys/fs/cgroup/systemd/gantry.slice/gantry-test.slice/\$unit/cgroup.procs
END
chmod +x "$T/bin/busctl"
cleanup_slices() { find /sys/fs/cgroup -maxdepth 3 -name 'gantry*.slice' -depth -exec rmdir {} + 2>/dev/null || true; }
at_exit cleanup_slices
expect_exit 0 unshare -m --propagation private env PATH="$T/bin:$PATH" sh -c "
  mount -t tmpfs none /run && mkdir -p /run/systemd/system &&
  exec gantry-oci --root $T/state --cgroup-manager systemd run --bundle $bundle $c"
expect_text "name=systemd:/gantry.slice/gantry-test.slice/pre-$c.scope$" "$T/out"
expect_text "pids:/gantry.slice/gantry-test.slice/pre-$c.scope$" "$T/out"
expect_text 'Slice s gantry-test.slice .*Delegate b true' "$T/calls"
