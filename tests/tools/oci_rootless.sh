# An ordinary user runs bundles in a user namespace of one id: the whole life, and no privilege.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
rootless=yes
. "$(dirname "$0")/../support/oci.sh"
unshare -U true 2>/dev/null || skip "no user namespaces here"

make_bundle '.process.args=["sh","-c","id; cat /proc/self/uid_map /proc/self/setgroups; touch /made; ls /dev; exit 6"]'
change_bundle 'del(.linux.resources) | .mounts |= map(select(.destination != "/sys/fs/cgroup")) | .linux.namespaces |= map(select(.type != "cgroup"))'
if [ "$(id -u)" = 0 ]; then
  change_bundle '.linux.uidMappings[0].hostID=65534 | .linux.gidMappings[0].hostID=65534'
  chown -R 65534:65534 "$bundle"
fi
user() { as_user gantry-oci --root "$T/user/state" "$@"; }
[ "$(id -u)" = 0 ] || mkdir -p "$T/user"
expect_exit 6 user run --bundle "$bundle" r1
expect_text '^uid=0 gid=0' "$T/out"
expect_text '^deny$' "$T/out"
expect_text '^urandom$' "$T/out"
change_bundle '.process.args=["sleep","1000"]'
user create --bundle "$bundle" r2 </dev/null >/dev/null 2>&1
user start r2
expect_exit 0 user exec r2 sh -c 'id; grep CapEff /proc/self/status'
expect_text '^uid=0 gid=0' "$T/out"
expect_text '^CapEff:.00000000800405fb$' "$T/out"
user kill r2 KILL
for _ in $(seq 100); do [ "$(user state r2 | jq -r .status)" = stopped ] || sleep 0.05; done
user delete r2
# Limits that nothing can enforce are refused.
change_bundle '.linux.resources={"pids":{"limit":5}}'
if [ -z "$(grep '^0::' /proc/self/cgroup | grep user.slice)" ]; then
  expect_exit 7 user run --bundle "$bundle" r3
  expect_text 'cannot (be )?set' "$T/err"
fi
[ -z "$(ls -A "$T/user/state")" ] || fail "state is left"
