# shellcheck shell=bash
# For tests that start virtual machines: source it after lib.sh. Skips where a machine cannot be; sets the array $kernel
# with the options that name a kernel, which `./dev test` puts in build/kernel where the host has none of its own.
#
# Everything runs under emulation, so that it is the same everywhere.

[ "$(uname -m)" = x86_64 ] || skip 'virtual machines are for x86-64'
need qemu-system-x86_64
command -v mkfs.erofs >/dev/null || command -v mksquashfs >/dev/null || skip 'neither mkfs.erofs nor mksquashfs is installed'
kernel=(--accel=tcg)
find_kernel() {
  local file
  for file in /boot/vmlinuz-*; do
    [ -d "/lib/modules/${file#/boot/vmlinuz-}" ] && [ -r "$file" ] && return
  done
  for file in "$GANTRY_SOURCE_DIR"/build/kernel/boot/vmlinuz-*; do
    [ -r "$file" ] || continue
    kernel+=(--kernel "$file")
    return
  done
  skip 'no kernel with modules, neither in /boot nor in build/kernel (./dev test fetches one)'
}
find_kernel
# The one that gantry-run chooses, or is told.
gantry_kernel() {
  local cloud
  [ ${#kernel[@]} = 1 ] || { echo "${kernel[2]}" && return; }
  cloud=$(ls -v /boot/vmlinuz-*-cloud-* 2>/dev/null | tail -1)
  echo "${cloud:-$(ls -v /boot/vmlinuz-* | tail -1)}"
}
# own_kernel: a tree that was cloned into root's home is root's alone to read; ordinary users get a copy.
own_kernel() {
  local top=${kernel[2]-}
  top=${top%/boot/*}
  [ -n "$top" ] || return 0
  cp -r "$top" "$T/kernel"
  chmod -R a+rX "$T/kernel"
  vm=("${vm[@]/"$top"/"$T/kernel"}")
}
# shellcheck disable=SC2034 # of the tests that source this
vm=(gantry-run -q --insecure-options=image --isolation=vm "${kernel[@]}")
