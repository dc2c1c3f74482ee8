# The engine chroot makes what namespaces make, with less around the command: it sees no process and no network of the
# host, gains nothing, and leaves nothing behind. Without root it works, too.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to build as root and as another"
accept_anything
make_busybox_image "$T/base" v1
cd "$T"
gantry build begin "oci:$T/base:v1"
gantry build run --engine chroot -- sh -c 'echo made >/made; rm -r /opt; mkdir /opt; echo x >/dev/null; ls /sys/class /dev
  ps -o comm; cat /proc/net/dev; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; cat' >out 2>err || fail "$(cat err)"
! grep -qE 'bash|sda|eth0|net$' out || fail "the host is seen: $(cat out)"
expect_text '^ *lo:' out
expect_text '^NoNewPrivs:.1$' out
expect_text '^Seccomp:.2$' out
mv out status
! gantry build run --engine chroot -- cat /proc/interrupts /proc/keys /proc/timer_list | grep . || fail "the kernel is seen"
# A terminal of the caller's is not there to push input into.
script -qec "gantry build run --engine chroot -- sh -c 'echo begun; : </dev/tty && echo pushes'" /dev/null >out 2>&1 || true
grep -q '^begun' out && ! grep -q '^pushes' out || fail "the caller's terminal: $(cat out)"
gantry build run -- grep CapEff /proc/self/status >caps
grep -qxF "$(cat caps)" status || fail "other capabilities than in a container: $(cat status)"
gantry build run --engine chroot --working-dir /home/app -- sh -c 'pwd; test "$(cat /made)" = made' >out 2>err || fail "$(cat err)"
[ "$(cat out)" = /home/app ] || fail "$(cat out)"
expect_exit 1 gantry build run --engine chroot -- sh -c 'kill -9 $$'
expect_text 'ended with 137' "$T/err"
expect_exit 1 gantry build run --engine chroot -- /no/such/program
expect_text 'ended with 127' "$T/err"
expect_exit 7 gantry build run --engine nspawn -- true
expect_exit 2 gantry build run --kernel x -- true
gantry build write oci:made >/dev/null
gantry build abort
[ -z "$(grep "$T" /proc/self/mounts)" ] || fail "mounts are left: $(grep "$T" /proc/self/mounts)"
[ "$(gantry run -q oci:made sh -c 'cat /made; ls -A /opt')" = made ] || fail "the image is not what the commands made"

as_user unshare -U true 2>/dev/null || skip "no user namespaces for ordinary users here; root's way works"
cp -r "$T/base" "$T/user/base" && chown -R 65534:65534 "$T/user"
as_user gantry build begin oci:base:v1
as_user gantry build run --engine chroot -- sh -c 'id -u; rm /etc/group; test ! -e /proc/1/root/work' >out 2>err || fail "$(cat err)"
[ "$(cat out)" = 0 ] || fail "$(cat out)"
as_user gantry build write oci:made >/dev/null
as_user gantry build abort
[ "$(as_user gantry run -q oci:made sh -c 'ls /etc/group || echo gone' 2>/dev/null)" = gone ] || fail "nothing was removed"
