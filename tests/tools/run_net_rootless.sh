# A private network without root, by pasta: pods reach others, are reached by what they publish and by nothing else, and
# pasta ends with the pod, however that ends.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox curl jq perl setpriv
[ "$(id -u)" = 0 ] || skip "makes a network to be in"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
setpriv --reuid 65534 --clear-groups unshare -U true 2>/dev/null || skip "no user namespaces here"
make_outside

make_busybox_image "$T/image" v1
chmod -R a+rX "$T/image"
run=(as_user gantry-run -q --insecure-options=image)
image=oci:$T/image:v1
if [ ! -x /usr/bin/pasta ]; then
  expect_exit 125 "${run[@]}" --net=private "$image" true
  expect_text 'pasta, which is not installed' "$T/err"
  skip "pasta is not installed: only the refusal is tested"
fi
# The device that everyone may open on a host that udev has set up.
mount -t tmpfs tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200 2>/dev/null || skip "no /dev/net/tun to be made"
as_user sh -c ': <>/dev/net/tun' 2>/dev/null || skip "no tun devices in this kernel"
# Whoever talks waits for the other to end: the pasta of Debian 12 loses connections that are half closed, and answers to
# nothing.
mkdir "$T/www"
echo neighbour >"$T/www/page"
serve_outside 7000 busybox httpd -f -p 7000 -h "$T/www"
perl -e "$(serve secret tcp 7001)" &
started_pids+=($!)

expect_exit 0 "${run[@]}" --net=private "$image" sh -c 'ip -4 addr; (printf "GET /page HTTP/1.0\r\n\r\n"; sleep 3) | timeout 20 nc 10.77.0.2 7000; cat /etc/hosts'
expect_text 'inet 10.77.0.1/24 ' "$T/out"
expect_text '^neighbour$' "$T/out"
expect_text '^10.77.0.1.[0-9a-f]{12}$' "$T/out"
# What the host's loopback serves is not the pod's.
expect_exit 0 "${run[@]}" --net=private "$image" sh -c '! nc -w 1 127.0.0.1 7001 </dev/null && ! nc -w 1 10.77.0.2 7001 </dev/null'

# page NAME PORT: the command of a server of one page.
page() { echo "mkdir /www; echo $1 >/www/page; httpd -f -p $2 -h /www"; }
get() { curl -sS -m 3 "http://$1/page"; }
uuid=$("${run[@]}" -d -p 8080:80 -p 127.0.0.1:8081:81 "$image" --name one -- sh -c "$(page one 80)" \
  --- "$image" --name two -- sh -c "$(page two 81)" 2>"$T/err")
for _ in $(seq 100); do get 127.0.0.1:8080 && get 127.0.0.1:8081 && break; sleep 0.05; done >/dev/null 2>&1
[ "$(outside curl -sS -m 3 http://10.77.0.1:8080/page)" = one ] || fail "not reached from outside"
[ "$(get 127.0.0.1:8081)" = two ] || fail "not reached over loopback"
! outside curl -sS -m 3 http://10.77.0.1:8081/page 2>/dev/null || fail "what is published at one address is at another"
[ "$(as_user gantry run status --json "$uuid" | jq -c '[.addresses[0], .ports[0].hostPort]')" = '["10.77.0.1",8080]' ] ||
  fail "$(as_user gantry run status --json "$uuid")"
expect_exit 125 "${run[@]}" -p 8080:80 "$image" true
expect_text 'port 8080 of the host is in use' "$T/err"
expect_exit 125 "${run[@]}" --net=some-cni "$image" true
expect_text 'CNI networks need root' "$T/err"
as_user gantry run stop "$uuid" >/dev/null
pastas() { pgrep -f -- ' --config-net '; }
for _ in $(seq 100); do pastas >/dev/null || break; sleep 0.05; done
! pastas || fail "pasta goes on after its pod"

# Killed: the keeper ends it; killed with its keeper: gc does.
for names in gantry-run 'gantry-run gantry-keeper'; do
  "${run[@]}" --net=private "$image" sleep 1000 &
  for _ in $(seq 100); do pastas >/dev/null && pgrep -x sleep >/dev/null && break; sleep 0.05; done
  pastas >/dev/null || fail "no pasta"
  for name in $names; do pgrep -x "$name"; done | xargs kill -KILL 2>/dev/null || true  # some end with others
  wait $! 2>/dev/null || true
  for _ in $(seq 100); do
    as_user gantry run gc --grace-period 0 >/dev/null
    pastas >/dev/null || break
    sleep 0.05
  done
  ! pastas || fail "pasta goes on after the kill of $names"
done
