# The kernel's keys of whoever starts a container, or comes into one, are not the container's.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need perl
[ "$(id -u)" = 0 ] || skip "root's way"
case $(uname -m) in x86_64) keyctl=250 ;; aarch64) keyctl=219 ;; *) skip "which system call is keyctl here?" ;; esac
c=gantry-test-$$

# with_keys COMMAND...: in a session whose keyring is called "mine".
with_keys() { perl -e 'syscall(shift() + 0, 1, my $name = "mine") > 0 or exit 99; exec @ARGV' "$keyctl" "$@"; }
# What the keyring of a process's session is called.
look=(/usr/bin/perl -e 'syscall(shift() + 0, 6, -3, my $text = " " x 200, 200) > 0 or die $!; print $text =~ /;([^;\0]*)\0/' "$keyctl")
[ "$(with_keys "${look[@]}")" = mine ] || skip "no keyrings here"

mkdir -p "$T/base/bin" "$T/base/usr"
cp "$(command -v busybox)" "$T/base/bin/busybox"
ln -s busybox "$T/base/bin/sleep"
ln -s usr/lib "$T/base/lib"
ln -s usr/lib64 "$T/base/lib64"
make_image "$T/image" v1 '{"Cmd":["sleep","1000"],"Env":["PATH=/bin"]}' "$T/base"
run=(gantry-run -q --insecure-options=image --security-opt seccomp=unconfined -v /usr:/usr:ro)
[ "$(with_keys "${run[@]}" "oci:$T/image:v1" "${look[@]}")" = _ses ] || fail "run"
uuid=$("${run[@]}" -d "oci:$T/image:v1")
[ "$(with_keys gantry-run enter "$uuid" "${look[@]}")" = _ses ] || fail "enter"
gantry-run rm -f "$uuid" >/dev/null

make_bundle '.process.args=["sleep","1000"] | .mounts+=[{destination:"/usr",source:"/usr",options:["rbind","ro"]}]'
mkdir "$bundle/rootfs/usr"
ln -s usr/lib "$bundle/rootfs/lib"
ln -s usr/lib64 "$bundle/rootfs/lib64"
with_keys gantry-oci --root "$T/state" run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
[ "$(with_keys gantry-oci --root "$T/state" exec "$c" "${look[@]}")" = "_ses.$c" ] || fail "exec"
oci delete --force "$c"

# Who keeps the caller's has the caller's in what is executed, too.
with_keys gantry-oci --root "$T/state" run --no-new-keyring --detach --bundle "$bundle" "$c-kept" </dev/null >/dev/null 2>&1
[ "$(with_keys gantry-oci --root "$T/state" exec "$c-kept" "${look[@]}")" = mine ] || fail "exec of --no-new-keyring"
oci delete --force "$c-kept"
