# The networks of machines are those of namespaces: the guest has the pod's address, names and routes, and is reached by
# what it publishes and by nothing else.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq nft perl
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
make_outside
nft list tables >/dev/null 2>&1 || skip "no nftables in this kernel"
[ -c /dev/net/tun ] || skip "no /dev/net/tun"

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
serve_outside 7000 perl -e "$(serve neighbour tcp 7000)"

# The way out, beside a look at what a pod in namespaces sees of its network.
look='ip -4 -o addr show eth0 | cut -d" " -f 2-7; ip route; cat /etc/hosts; cat /etc/resolv.conf; hostname
  cat /sys/class/net/eth0/mtu; ls /sys/class/net; timeout 20 nc 10.77.0.2 7000 </dev/null'
options=(--net=private --hostname web --add-host up:host-gateway --dns 10.77.0.2 --dns-search example.org)
expect_exit 0 gantry-run -q --insecure-options=image "${options[@]}" "$image" sh -c "$look"
sed 's/172.16.28.2/172.16.28.3/' "$T/out" >"$T/in_namespaces"
expect_exit 0 "${vm[@]}" "${options[@]}" "$image" sh -c "$look"
expect_text 'inet 172.16.28.3/22' "$T/out"
expect_text '^default via 172.16.28.1 dev eth0' "$T/out"
expect_text '^172.16.28.1.up$' "$T/out"
expect_text '^neighbour 10.77.0.1$' "$T/out"
diff "$T/in_namespaces" "$T/out" || fail 'the machine differs'

# The way in. The machine's process itself is where no network is.
uuid=$("${vm[@]}" -d -p 8080:80 -p 127.0.0.1:8081:81 "$image" \
  sh -c 'for port in 80 81 82; do nc -ll -p $port -e echo tcp $port & done; wait')
address=$(gantry run status --json "$uuid" | jq -r '.addresses[0]')
[ "$address" = 172.16.28.4/22 ] || fail "address $address"
for _ in $(seq 400); do { outside_asks tcp 10.77.0.1 8080 && ask tcp 127.0.0.1 8081; } && break || sleep 0.1; done >/dev/null
[ "$(outside_asks tcp 10.77.0.1 8080)" = 'tcp 80' ] || fail 'not reached from outside'
[ "$(ask tcp 127.0.0.1 8080)" = 'tcp 80' ] || fail 'not reached over loopback'
[ "$(ask tcp 127.0.0.1 8081)" = 'tcp 81' ] || fail 'not reached at an address of the host'
! outside_asks tcp 10.77.0.1 8081 || fail 'what is published at one address is at another'
! outside_asks tcp 10.77.0.1 82 || fail 'reached though it is not published'
outside ip route add 172.16.28.0/22 via 10.77.0.1
! outside_asks tcp "${address%/*}" 80 || fail 'reached by its address from outside'
machine=$(gantry run status --json "$uuid" | jq '.apps[0].pid')
[ "$(nsenter -t "$machine" -n ip -o link | wc -l)" = 1 ] || fail 'the machine has devices in its network namespace'
expect_exit 125 "${vm[@]}" -p 8080:81 "$image" true
expect_text 'port 8080 of the host is' "$T/err"
expect_exit 0 gantry run enter "$uuid" ip -4 -o addr show eth0
expect_text "inet $address" "$T/out"
# Who attends to it is killed: machine and network go all the same.
kill -KILL "$(gantry run status --json "$uuid" | jq .runner)"
for _ in $(seq 400); do { [ -d "/proc/$machine" ] || ip -o link | grep -E 'gantry0|gv' || nft list tables | grep gantry; } >/dev/null || break; sleep 0.05; done
! ip -o link | grep -E 'gantry0|gv' || fail 'a device is left'
! nft list tables | grep gantry || fail 'a table is left'
[ ! -d "/proc/$machine" ] || fail 'the machine is left'
gantry run rm "$uuid" >/dev/null

# CNI: two networks, two devices, each with what its plugin gave it.
[ -x /usr/lib/cni/bridge ] || skip 'no CNI plugins (package containernetworking-plugins): their networks are not tested'
mkdir -p "$T/leases" "$T/net.d"
for n in 1 2; do
  echo '{"cniVersion":"1.0.0","name":"net'$n'","type":"bridge","bridge":"cnitest'$n'","isGateway":true,"ipam":{
    "type":"host-local","dataDir":"'"$T/leases"'","ranges":[[{"subnet":"10.88.'$n'.0/24"}],[{"subnet":"fd00:'$n'::/64"}]],
    "routes":[{"dst":"10.99.'$n'.0/24"}]}}' >"$T/net.d/$n.conf"
done
expect_exit 0 "${vm[@]}" --cap-add NET_RAW --net-config "$T/net.d" --net=net1,net2 "$image" \
  sh -c 'ip -o addr; ip route; ip -6 route; ping -c 1 -W 5 10.88.2.1 | grep received; ping -6 -c 1 -W 5 fd00:1::1 | grep received'
expect_text 'eth0 .*inet 10.88.1.2/24' "$T/out"
expect_text 'eth1 .*inet 10.88.2.2/24' "$T/out"
expect_text 'eth1 .*inet6 fd00:2::2/64' "$T/out"
expect_text '^10.99.2.0/24 via 10.88.2.1 dev eth1' "$T/out"
[ "$(grep -c '1 packets received' "$T/out")" = 2 ] || fail "not reached: $(cat "$T/out")"
