# A private network: pods have addresses of their own, reach others by the host's, are reached by what they publish and by
# nothing else, and leave nothing.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq nft perl
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -nm
make_outside
nft list tables >/dev/null 2>&1 || skip "no nftables in this kernel"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
image=oci:$T/image:v1
# Perl of the host, in pods.
host=()
for place in /usr /lib /lib64; do [ ! -d $place ] || host+=(-v "$place:$place:ro"); done
serve_outside 7000 perl -e "$(serve neighbour tcp 7000)"

# The way out: by the host's address.
expect_exit 0 "${run[@]}" --net=private --hostname web --add-host up:host-gateway --dns 10.77.0.2 "$image" \
  sh -c 'ip -4 addr show eth0; ip route; cat /etc/hosts /etc/resolv.conf; ip link show lo'
expect_text 'inet 172.16.28.2/22 ' "$T/out"
expect_text '^default via 172.16.28.1 dev eth0' "$T/out"
expect_text '^172.16.28.2.web$' "$T/out"
expect_text '^172.16.28.1.up$' "$T/out"
expect_text '^nameserver 10.77.0.2$' "$T/out"
expect_text 'LOOPBACK,UP' "$T/out"
to_line='use IO::Socket::INET; alarm 20; print IO::Socket::INET->new($ARGV[0])->getline'
expect_exit 0 "${run[@]}" --net=private "${host[@]}" "$image" /usr/bin/perl -e "$to_line" 10.77.0.2:7000
expect_text '^neighbour 10.77.0.1$' "$T/out"

# Who is asked for names: nobody at a loopback address, which would be the pod's; those behind systemd-resolved's stub.
resolv() {
  printf 'nameserver %s\n' "$@" >"$T/resolv"
  mountpoint -q /etc/resolv.conf || mount --bind "$T/resolv" /etc/resolv.conf
  expect_exit 0 "${run[@]}" --net=private "$image" cat /etc/resolv.conf
}
if [ -e /etc/resolv.conf ]; then
  mkdir -p /run/systemd/resolve
  echo 'nameserver 10.9.9.9' >/run/systemd/resolve/resolv.conf
  resolv 127.0.0.53
  expect_text '^nameserver 10.9.9.9$' "$T/out"
  resolv 127.0.0.1 10.8.8.8 fd00::1
  [ "$(cat "$T/out")" = 'nameserver 10.8.8.8' ] || fail "$(cat "$T/out")"
  resolv ::1
  [ "$(xargs <"$T/out")" = 'nameserver 8.8.8.8 nameserver 8.8.4.4' ] || fail "$(cat "$T/out")"
fi

# The way in: by ports that are published, from everywhere; nothing else, and no loopback address, from outside.
uuid=$("${run[@]}" -d -p 8080:80 -p 10.77.0.1:5353:53/udp "${host[@]}" "$image" --name tcp -- \
  /usr/bin/perl -e "$(serve tcp tcp 80)" --- "$image" --name udp -- /usr/bin/perl -e "$(serve udp udp 53)")
until=$((SECONDS + 30))
until ask tcp 127.0.0.1 8080 >/dev/null && ask udp 10.77.0.1 5353 >/dev/null; do
  [ $SECONDS -lt $until ] || fail "the pod's servers do not answer: $(gantry run logs "$uuid" 2>&1)"
  sleep 0.05
done
[ "$(outside_asks tcp 10.77.0.1 8080)" = "tcp 10.77.0.2" ] || fail "not reached from outside"
[ "$(outside_asks udp 10.77.0.1 5353)" = "udp 10.77.0.2" ] || fail "no UDP from outside"
[ "$(ask tcp 127.0.0.1 8080)" = "tcp 172.16.28.1" ] || fail "not reached over loopback"
[ "$(ask tcp 10.77.0.1 8080)" != "" ] || fail "not reached over an address of the host"
! ask udp 127.0.0.1 5353 || fail "what is published at one address is at another"
outside ip route add 172.16.28.0/22 via 10.77.0.1
address=$(gantry run status --json "$uuid" | jq -r '.addresses[0]')
! outside_asks tcp ${address%/*} 80 || fail "reached though it is not published"
[ "$(ask tcp "${address%/*}" 80)" = "tcp 172.16.28.1" ] || fail "the host does not reach its pod"
# Another pod reaches it by the host's address, and by its own.
for to in "10.77.0.1:8080" "${address%/*}:80"; do
  expect_exit 0 "${run[@]}" --net=private "${host[@]}" "$image" /usr/bin/perl -e "$to_line" "$to"
  expect_text '^tcp ' "$T/out"
done
# And it reaches itself.
expect_exit 0 gantry run enter --app tcp "$uuid" -- /usr/bin/perl -e "$to_line" 10.77.0.1:8080
expect_text '^tcp ' "$T/out"
gantry run status --json "$uuid" >"$T/status"
[ "$(jq -c '.ports[1]' "$T/status")" = '{"hostAddress":"10.77.0.1","hostPort":5353,"port":53,"protocol":"udp"}' ] ||
  fail "$(cat "$T/status")"
gantry run status "$uuid" | grep -qx 'port=8080:80' || fail "no port in the status"
# A port is nobody else's.
expect_exit 125 "${run[@]}" -p 8080:81 "$image" true
expect_text 'port 8080 of the host is' "$T/err"
expect_exit 125 "${run[@]}" --net=host -p 8081:81 "$image" true
expect_exit 125 "${run[@]}" -p 10.77.0.9:8082:80 "$image" true
expect_text 'this host has no such address' "$T/err"
# Whoever flushes the rules of the host has not flushed them for good.
nft flush ruleset
"${run[@]}" --net=private "$image" true
[ "$(outside_asks tcp 10.77.0.1 8080)" = "tcp 10.77.0.2" ] || fail "the rules are not back"

gantry run stop "$uuid" >/dev/null
[ "$(gantry run status --json "$uuid" | jq .addresses)" = null ] || fail "a pod that has ended has addresses"
left() { ip -o link | grep -E 'gantry0|gv[0-9a-f]{12}'; nft list tables | grep gantry; ls /run/gantry/networks/*/1* 2>/dev/null; }
for _ in $(seq 100); do left >"$T/left" || true; [ -s "$T/left" ] || break; sleep 0.05; done
[ ! -s "$T/left" ] || fail "left: $(cat "$T/left")"
