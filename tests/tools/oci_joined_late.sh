# A bundle's control groups are joined while its mounts are made, and its network is made early: what depends on them is
# of the container, however its configuration leads there.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own --net

# Files of /proc that say of which network they are: a sysctl that the container sets, and the namespace.
mkdir "$T/links"
ln -s /proc "$T/links/proc"
ln -s proc/self/ns "$T/links/ns"
ln -s proc/self/ns/net "$T/links/net"
ln -s proc/self/ns/cgroup "$T/links/cgroup"
file() { printf '{destination:"/tmp/%s",source:"%s",options:["bind"]}' "$@"; }
up=$(printf '../%.0s' {1..30})
for proc in /proc //proc /./proc /sys/../proc "$T/links/proc" ../links/proc "${up}proc"; do
  for net in ns links/net; do
    [ "$net" = ns ] && net=$proc/self/ns/net || net=$T/links/net
    make_bundle ".mounts=[$(file ttl "$proc/sys/net/ipv4/ip_default_ttl"),$(file net "$net"),$(file groups "${net%/net}/cgroup")]+.mounts |
      .linux.namespaces |= map(select(.type != \"cgroup\")) + [{type:\"cgroup\"}] |
      .linux.sysctl={\"net.ipv4.ip_default_ttl\":\"77\"} |
      .process.args=[\"sh\",\"-c\",\"cat /tmp/ttl; stat -c net:[%i] /tmp/net; readlink /proc/self/ns/net; grep -c . /proc/net/dev; stat -c cgroup:[%i] /tmp/groups; readlink /proc/self/ns/cgroup\"]"
    run_bundle 0
    [ "$(sed -n 1p "$T/out")" = 77 ] || fail "$proc: the sysctl of another network: $(cat "$T/out")"
    [ "$(sed -n 2p "$T/out")" = "$(sed -n 3p "$T/out")" ] || fail "$net: another network: $(cat "$T/out")"
    [ "$(sed -n 5p "$T/out")" = "$(sed -n 6p "$T/out")" ] || fail "$net: another view of control groups: $(cat "$T/out")"
    [ "$(sed -n 4p "$T/out")" = 3 ] || fail "more than a loopback device: $(cat "$T/out")"
  done
done
[ "$(cat /proc/sys/net/ipv4/ip_default_ttl)" = 64 ] || fail "the sysctl was set outside"

# What a tmpfs begins with is charged to the container.
memory=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ {print $2}' /proc/self/cgroup)
if [ -n "$memory" ] || grep -q memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
  make_bundle '.mounts+=[{destination:"/full",type:"tmpfs",source:"tmpfs",options:["tmpcopyup"]}] | .process.args=["true"] |
    .linux.resources.memory={limit:16777216,swap:16777216}'
  mkdir "$bundle/rootfs/full"
  dd if=/dev/zero of="$bundle/rootfs/full/file" bs=1M count=60 2>/dev/null
  ! gantry-oci --root "$T/state" run --bundle "$bundle" "gantry-test-$$" >"$T/out" 2>"$T/err" || fail "60 MiB fit into 16"
  expect_text "Out of memory" "$T/err"
  nothing_is_left "gantry-test-$$"
fi

# /sys shows its network when nothing else comes before.
ip link add gantry0 type dummy 2>/dev/null || ip link add gantry0 type veth peer name gantry1 2>/dev/null ||
  skip "no devices of a network can be made here"
make_bundle '.mounts=[{destination:"/sys",type:"sysfs",source:"sysfs"}] + (.mounts | map(select(.destination != "/sys"))) |
  .process.args=["ls","/sys/class/net"]'
run_bundle 0
[ "$(xargs <"$T/out")" = lo ] || fail "/sys/class/net has $(xargs <"$T/out")"

# Where no network can be made, the container's process is to be in none that is not its own, and says why it is not there.
make_bundle '.process.args=["true"]'
unshare --user --map-root-user --mount true 2>/dev/null || skip "no user namespaces to be made here"
unshare --user --map-root-user --mount sh -c 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"' sh \
  gantry-oci --root "$T/state" run --bundle "$bundle" "gantry-test-$$" >"$T/out" 2>"$T/err" && fail "it ran without a network"
expect_text 'make the namespaces of the container: No space left on device' "$T/err"
nothing_is_left "gantry-test-$$"

# Root of another user namespace could not open the files of groups that are made late: nor one of its own, nor one that
# it is led into.
own='.linux.uidMappings=[{containerID:0,hostID:100000,size:65536}] | .linux.gidMappings=.linux.uidMappings'
make_bundle "$own"' | .linux.namespaces+=[{type:"user"}] | .process.args=["sh","-c","cat /proc/self/uid_map; readlink /proc/self/ns/user"]'
chown -R 100000:100000 "$bundle/rootfs"
run_bundle 0
expect_text '^ *0 +100000 +65536$' "$T/out"
unshare --user sleep 1000 &
started_pids+=($!)
until [ "$(readlink "/proc/$!/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.02; done
echo '0 100000 65536' >"/proc/$!/uid_map"
echo '0 100000 65536' >"/proc/$!/gid_map"
change_bundle 'del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= map(if .type == "user" then .path="/proc/'$!'/ns/user" else . end)'
run_bundle 0
expect_text "^$(readlink "/proc/$!/ns/user" | sed 's/[][]/\\&/g')$" "$T/out"
