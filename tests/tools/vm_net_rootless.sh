# The network of an ordinary user's machine is carried by pasta, as that of a pod in namespaces: a way out, a way in by
# what is published, and pasta ends with the pod.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox curl jq setpriv
[ "$(id -u)" = 0 ] || skip "makes a network to be in"
[ -x /usr/bin/pasta ] || skip "pasta is not installed"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
setpriv --reuid 65534 --clear-groups unshare -U true 2>/dev/null || skip "no user namespaces here"
make_outside
# The device that everyone may open on a host that udev has set up.
mount -t tmpfs tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200 2>/dev/null || skip "no /dev/net/tun to be made"
as_user sh -c ': <>/dev/net/tun' 2>/dev/null || skip "no tun devices in this kernel"
own_kernel

make_busybox_image "$T/image" v1
chmod -R a+rX "$T/image"
image=oci:$T/image:v1
mkdir "$T/www"
echo neighbour >"$T/www/page"
serve_outside 7000 busybox httpd -f -p 7000 -h "$T/www"

look='ip -4 -o addr | grep -v " lo "; ip route; (printf "GET /page HTTP/1.0\r\n\r\n"; sleep 5) | timeout 20 nc 10.77.0.2 7000; cat /etc/hosts'
expect_exit 0 as_user "${vm[@]}" --net=private "$image" sh -c "$look"
expect_text 'inet 10.77.0.1/24 ' "$T/out"
expect_text '^default via 10.77.0.2 ' "$T/out"
expect_text '^neighbour$' "$T/out"
expect_text '^10.77.0.1.[0-9a-f]{12}$' "$T/out"

uuid=$(as_user "${vm[@]}" -d -p 8080:80 "$image" sh -c 'mkdir /www; echo guest >/www/page; httpd -f -p 80 -h /www' 2>"$T/err")
get() { outside curl -sS -m 3 http://10.77.0.1:8080/page 2>/dev/null; }
for _ in $(seq 400); do ! get || break; sleep 0.1; done >/dev/null
[ "$(get)" = guest ] || fail 'not reached from outside'
! outside curl -sS -m 3 http://10.77.0.1:81/page 2>/dev/null || fail 'reached though it is not published'
as_user gantry-run rm -f "$uuid" >/dev/null
carried() { pgrep -x pasta || pgrep -x pasta.avx2; }
for _ in $(seq 400); do carried >/dev/null || break; sleep 0.05; done
! carried || fail 'pasta is left'
