# Links and files in a root file system made to lead the runtime elsewhere do not: a case for each class of escape by
# mounts that runtimes have had.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$
mkdir -p "$T/host" "$T/source"
echo precious >"$T/host/file"

# CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766: links in the places of kernel file systems.
for name in proc sys dev; do
  make_bundle '.process.args=["true"]'
  rmdir "$bundle/rootfs/$name"
  ln -s tmp "$bundle/rootfs/$name"
  expect_exit 1 oci run --bundle "$bundle" "$c"
  expect_text "mount" "$T/err"
done
# CVE-2021-30465, CVE-2019-18837, CVE-2024-45310: links in the path of a mount stay inside.
make_bundle ".process.args=[\"true\"] | .mounts+=[{\"destination\":\"/out/new/dir\",\"source\":\"$T/source\",\"options\":[\"bind\"]}]"
ln -s "$(printf '../%.0s' {1..30})${T#/}/host" "$bundle/rootfs/out"
oci run --bundle "$bundle" "$c" >/dev/null 2>&1 || true
[ "$(ls "$T/host")" = file ] || fail "the host has $(ls "$T/host")"
# CVE-2025-52881: a mount that would take the place of files of /proc.
for to in /proc/self/attr /proc/sys /evil/self; do
  make_bundle ".process.args=[\"true\"] | .mounts+=[{\"destination\":\"$to\",\"source\":\"$T/source\",\"options\":[\"bind\"]}]"
  ln -s proc "$bundle/rootfs/evil"
  expect_exit 1 oci run --bundle "$bundle" "$c"
  expect_text 'inside /proc' "$T/err"
done
# The same: the kernel gets a sysctl whatever is mounted at /proc.
make_bundle '.process.args=["cat","/p/sys/net/ipv4/ip_forward"] | .linux.sysctl={"net.ipv4.ip_forward":"1"} |
  .mounts |= map(select(.destination != "/proc")) | .mounts+=[{"destination":"/proc","type":"tmpfs","source":"x"},{"destination":"/p","type":"proc","source":"proc"}] |
  .linux.maskedPaths=[] | .linux.readonlyPaths=[]'
run_bundle 0
expect_text '^1$' "$T/out"
# CVE-2025-31133: a file that only looks like /dev/null hides nothing, and is refused.
make_bundle '.process.args=["cat","/proc/keys"] | .mounts |= map(select(.destination | startswith("/dev") | not))'
echo fake >"$bundle/rootfs/dev/null"
expect_exit 1 oci run --bundle "$bundle" "$c"
expect_text "make the device '/dev/null'" "$T/err"
rm "$bundle/rootfs/dev/null"
run_bundle 0
[ ! -s "$T/out" ] || fail "/proc/keys: $(cat "$T/out")"
