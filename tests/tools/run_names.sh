# The files of the container's /etc that the image cannot know: hostname, hosts and resolv.conf, as the options and the
# host say.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -m

make_busybox_image "$T/image" v1
run() { expect_exit 0 gantry-run -q --insecure-options=image "$@"; }
# resolv TEXT: the host's resolv.conf from now on.
resolv() {
  printf '%b' "$1" >"$T/resolv"
  mountpoint -q /etc/resolv.conf || mount --bind "$T/resolv" /etc/resolv.conf
}
[ -e /etc/resolv.conf ] || skip "no /etc/resolv.conf to mount another over"
resolv 'nameserver 127.0.0.53\noptions edns0\nsearch here.example\n'

run --hostname web --add-host db:10.0.0.7 --add-host six=::1 "oci:$T/image:v1" cat /etc/hostname /etc/hosts
expect_text '^web$' "$T/out"
expect_text '^127.0.0.1.web$' "$T/out"
expect_text '^10.0.0.7.db$' "$T/out"
expect_text '^::1.six$' "$T/out"
# Without a network nobody is asked for names, unless it is said.
run "oci:$T/image:v1" sh -c '! cat /etc/resolv.conf'
run --dns 10.0.0.1 --dns 10.0.0.2 --dns-search a.example --dns-option ndots:2 "oci:$T/image:v1" cat /etc/resolv.conf
printf '%s\n' 'nameserver 10.0.0.1' 'nameserver 10.0.0.2' 'search a.example' 'options ndots:2' | cmp - "$T/out" ||
  fail "$(cat "$T/out")"

# A whole name is the first that an address has, so that it is found by the short one.
run --hostname web.here.example "oci:$T/image:v1" sh -c 'cat /etc/hosts; hostname -f'
expect_text '^127.0.0.1.web.here.example web$' "$T/out"
expect_text '^web.here.example$' "$T/out"

# With the host's network its files are the base, stub and all.
run --net=host "oci:$T/image:v1" cat /etc/resolv.conf
cmp "$T/resolv" "$T/out" || fail "$(cat "$T/out")"
run --net=host --dns 10.0.0.1 --add-host self:host-gateway "oci:$T/image:v1" cat /etc/resolv.conf /etc/hosts
expect_text '^nameserver 10.0.0.1$' "$T/out"
expect_text '^search here.example$' "$T/out"
expect_text '^127.0.0.1.self$' "$T/out"

run --net=host --hostname other "oci:$T/image:v1" cat /etc/hosts
expect_text '^127.0.1.1.other$' "$T/out"

for wrong in --dns=no --dns=1.2.3.4.5 --dns-search='a b' --dns-option='a
nameserver 6.6.6.6' --add-host=x --add-host='a b:1.2.3.4' --add-host=a:b --add-host=self:host-gateway; do
  expect_exit 125 gantry-run -q --insecure-options=image "$wrong" "oci:$T/image:v1" true
done
