# The engine vm runs a command in a virtual machine, and what it changed comes back: files, removed ones, directories that
# hide what was below, owners.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
[ -x /usr/lib/qemu/virtiofsd ] || skip "virtiofsd is not installed (package qemu-system-common)"
accept_anything
make_busybox_image "$T/base" v1
cd "$T"
gantry build begin "oci:$T/base:v1"
gantry build run --engine vm "${kernel[@]}" -- sh -c 'uname -r; echo made >/made; chown 1000:2000 /made; rm /etc/group
  rm -r /opt; mkdir /opt; echo new >/opt/new; ln /made /again; cat /etc/passwd >/etc/p && mv /etc/p /etc/passwd' >out 2>err ||
  fail "$(cat out err)"
! grep -qxF "$(uname -r)" out || fail 'it ran in the kernel of the host'
gantry build write oci:made >/dev/null
expect_exit 7 gantry build run --engine vm "${kernel[@]}" --net -- true
gantry build abort
layer=$(gantry inspect --raw oci:made | grep -o 'sha256:[0-9a-f]*' | tail -n 1)
tar -tzf "made/blobs/sha256/${layer#sha256:}" | sort >names
printf '%s\n' again etc/ etc/.wh.group made opt/ opt/.wh..wh..opq opt/new | sort >want
diff want names || fail "the layer is not what the command changed"
[ "$(gantry run -q oci:made sh -c 'cat /again; stat -c "%u:%g %h" /made; ls /opt; ls /etc/group || echo gone' 2>/dev/null | tr '\n' ' ')" = 'made 1000:2000 2 new gone ' ] ||
  fail "the image is not what the command made"
