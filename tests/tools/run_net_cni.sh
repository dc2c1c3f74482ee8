# CNI networks: Debian's plugins give a pod its devices, and take them away at its end, by gc when everything was killed;
# what is not root's alone, and what a plugin says that it may not, is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
[ -x /usr/lib/cni/bridge ] || skip "no CNI plugins (package containernetworking-plugins)"
make_outside
# Leases of host-local are in /var/lib/cni, others' plugins in /opt/cni/bin: here those are ours.
mkdir -p "$T/leases" "$T/net.d"
mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni/bin

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image --net-config "$T/net.d")
image=oci:$T/image:v1
plugin='"type":"bridge","bridge":"cnitest0","isGateway":true,"ipam":{"type":"host-local","dataDir":"'$T/leases'",
  "subnet":"10.88.1.0/24","routes":[{"dst":"0.0.0.0/0"}]},"dns":{"nameservers":["10.88.1.1"],"search":["cni.example"]}'
echo '{"cniVersion":"0.4.0","name":"one",'"$plugin"'}' >"$T/net.d/20-one.conf"
echo '{"cniVersion":"1.0.0","name":"chain","plugins":[{'"${plugin//cnitest0/cnitest1}"'},
  {"type":"tuning","sysctl":{"net.ipv4.conf.eth0.log_martians":"1"}}]}' >"$T/net.d/10-chain.conflist"

expect_exit 0 "${run[@]}" --net=one "$image" sh -c 'ip -4 addr show eth0; ip route; cat /etc/resolv.conf /etc/hosts; hostname'
expect_text 'inet 10.88.1.2/24' "$T/out"
expect_text '^default via 10.88.1.1' "$T/out"
expect_text '^nameserver 10.88.1.1$' "$T/out"
expect_text '^search cni.example$' "$T/out"
expect_text '^10.88.1.2.[0-9a-f]{12}$' "$T/out"
ls "$T"/leases/*/10.* 2>/dev/null && fail "an address is still leased"
expect_exit 0 "${run[@]}" --net=chain,one "$image" sh -c 'ip -4 -o addr; cat /proc/sys/net/ipv4/conf/eth0/log_martians'
[ "$(grep -c 'eth[01] .*10.88.1' "$T/out")" = 2 ] || fail "$(cat "$T/out")"
expect_text '^1$' "$T/out"

# Killed with its keeper: gc calls the plugins.
setsid "${run[@]}" -d --net=one "$image" sleep 1000 >"$T/uuid" 2>"$T/err"
uuid=$(cat "$T/uuid")
[ "$(gantry run status --json "$uuid" | jq -r '.addresses[0]')" != null ] || fail "no address"
ls "$T"/leases/one/10.* >/dev/null || fail "no lease"
pkill -KILL -x gantry-monitor
pkill -KILL -x gantry-keeper || true
for _ in $(seq 50); do gantry run gc --grace-period 0 >/dev/null; [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.1; done
ls "$T"/leases/*/10.* 2>/dev/null && fail "an address is still leased after gc"
! grep "$T/store" /proc/self/mounts || fail "a mount is left"
no_device() { ! ip -o link | grep veth >/dev/null; }
await no_device || fail "a device is left: $(ip -o link)"

expect_exit 125 "${run[@]}" --net=none-such "$image" true
expect_text 'net.d.: chain, one$' "$T/err"
expect_exit 125 "${run[@]}" --net=one -p 8080:80 "$image" true
expect_text 'can publish ports' "$T/err"
# Arguments reach the plugins; a port is nobody else's; and what stands alone is not joined with others.
expect_exit 0 "${run[@]}" --net=one:IP=10.88.1.77 "$image" ip -4 addr show eth0
expect_text 'inet 10.88.1.77/24' "$T/out"
expect_exit 125 "${run[@]}" --net=one:IP "$image" true
expect_text "expected KEY=VALUE" "$T/err"
expect_exit 125 "${run[@]}" --network=one,none "$image" true
expect_text "'none' stands alone" "$T/err"
if [ -x /usr/lib/cni/portmap ] && command -v iptables >/dev/null; then
  echo '{"cniVersion":"1.0.0","name":"ports","plugins":[{'"$plugin"'},{"type":"portmap","capabilities":{"portMappings":true}}]}' \
    >"$T/net.d/40-ports.conflist"
  uuid=$("${run[@]}" -d --net=ports -p 8080:80 "$image" sleep 1000)
  expect_exit 125 "${run[@]}" --net=ports -p 8080:80 "$image" true
  expect_text 'port 8080 of the host is in use' "$T/err"
  gantry run rm -f "$uuid" >/dev/null
fi
# What plugins may say.
for answer in 'echo "{"' 'echo "{\"ips\":[{\"address\":\"x\"}]}"' 'echo "{\"dns\":{\"nameservers\":[\"1.1.1.1\\\\nx\"]}}"' \
  'head -c 3000000 /dev/zero' 'echo "{\"code\":7,\"msg\":\"no way\"}"; exit 1'; do
  printf '#!/bin/sh\n[ "$CNI_COMMAND" = DEL ] && exit\n%s\n' "$answer" >/opt/cni/bin/odd
  chmod 0755 /opt/cni/bin/odd
  echo '{"cniVersion":"1.0.0","name":"odd","type":"odd"}' >"$T/net.d/30-odd.conf"
  expect_exit 125 "${run[@]}" --net=odd "$image" true
done
expect_text "'odd' failed at ADD: 'no way'" "$T/err"
# One that hangs is killed, with what it started: at the beginning, and at the end.
hangs() {
  printf '#!/bin/sh\n[ "$CNI_COMMAND" = %s ] && [ ! -e %s ] && sleep 987\necho "{}"\n' "$1" "$T/on" >/opt/cni/bin/odd
}
hangs ADD
expect_exit 125 timeout 60 "${run[@]}" --net=odd --net-timeout 1 "$image" true
expect_text "odd' took longer than 1 s, and was killed" "$T/err"
hangs DEL
expect_exit 6 timeout 60 "${run[@]}" --net=odd --net-timeout 1 "$image" sh -c 'exit 6'
expect_exit 1 timeout 60 gantry run gc
expect_text "odd' took longer than 1 s, and was killed" "$T/err"
no_sleep() { ! pgrep -fx 'sleep 987' >/dev/null; }
await no_sleep || fail "what a plugin started is left"
touch "$T/on"
expect_exit 0 gantry run gc
expect_exit 125 "${run[@]}" --net=private --net-timeout 1 "$image" true
# One that fails at the end does not take the app's code away, and gc tries again.
printf '#!/bin/sh\n[ "$CNI_COMMAND" != DEL ] || [ -e %s ] || exit 1\necho "{}"\n' "$T/may" >/opt/cni/bin/odd
expect_exit 5 "${run[@]}" --net=odd "$image" sh -c 'exit 5'
expect_text 'try again, with: gantry run gc$' "$T/err"
expect_exit 1 gantry run gc
expect_text "'odd' failed at DEL" "$T/err"
touch "$T/may"
expect_exit 0 gantry run gc
[ -z "$(ls -A "$T/store/pods")" ] || fail "gc left a pod whose plugin failed"
# One that can never do it is given up by who says so: the pod was not to be kept, and has no more than its UUID.
rm "$T/may"
expect_exit 0 "${run[@]}" --net=odd "$image" true
uuid=$(ls "$T/store/pods")
expect_exit 1 gantry run gc
expect_text "gantry run rm --force $uuid\$" "$T/err"
other=$(gantry-run -q --insecure-options=image -d "$image" true)
gantry run status --wait "$other" >/dev/null
expect_exit 3 gantry run rm --force "$uuid" none-such
[ -e "$T/store/pods/$uuid" ] || fail "removed beside a name that is wrong"
expect_exit 1 gantry run rm "$uuid" "$other"
[ "$(cat "$T/out")" = "$other" ] || fail "one that cannot go keeps others: $(cat "$T/out" "$T/err")"
expect_exit 0 gantry run rm --force "$uuid"
expect_text "'odd' failed at DEL" "$T/err"
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod that was given up is left"
! grep "$T/store" /proc/self/mounts || fail "a mount is left"
chmod 0775 /opt/cni/bin/odd
expect_exit 125 "${run[@]}" --net=odd "$image" true
expect_text "is not root's alone" "$T/err"
chmod 0666 "$T/net.d/30-odd.conf"
expect_exit 125 "${run[@]}" --net=odd "$image" true
expect_text "30-odd.conf' is not root's alone" "$T/err"
echo '{"name":"odd","type":"../../bin/sh"}' >"$T/net.d/30-odd.conf" && chmod 0644 "$T/net.d/30-odd.conf"
expect_exit 125 "${run[@]}" --net=odd "$image" true
expect_text 'expected the file name of a plugin' "$T/err"
for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
