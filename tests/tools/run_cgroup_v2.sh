# In a kernel whose control groups are of version 2 alone, of both versions, or not there: limits hold, devices are those
# that were given, and what nothing can enforce is refused. The machine is emulated and executes nothing but this.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
. "$(dirname "$0")/../support/vm.sh"
need strip setfattr

make_busybox_image "$T/image" v1
top=$T/initramfs
mkdir -p "$top"/{bin,usr/bin,sbin,dev,proc,sys,tmp,store,etc,modules,run}
cp -r "$T/image" "$top/image"
cp "$(command -v busybox)" "$top/bin/busybox"
for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$top/bin/$name"; done
for name in gantry-run gantry-oci; do strip -o "$top/bin/$name" "$GANTRY_BIN/$name"; done
# As systemd does in a container: its own process goes to a group below, and the controllers go down.
make_bundle '.process.args=["sh","-c","cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && echo +pids >cgroup.subtree_control && sleep 1000"] |
  .mounts |= map(if .destination == "/sys/fs/cgroup" then .options -= ["ro"] else . end)'
cp -r "$bundle" "$top/bundle"
rm -f "$top/bin/setfattr"
cp "$(command -v setfattr)" "$top/bin/setfattr"
ldd "$top"/bin/{gantry-run,gantry-oci,setfattr} | grep -o '/[^ ]*' | grep -v :\$ | sort -u | while read -r file; do
  mkdir -p "$top${file%/*}"
  cp -L "$file" "$top$file"
done
printf 'root:x:0:0:root:/:/bin/sh\n' >"$top/etc/passwd"
tree=$(gantry_kernel)
tree=${tree%/boot/*}/lib/modules/${tree##*/vmlinuz-}
for name in overlay virtio virtio_ring virtio_mmio virtio_blk; do
  file=$(find "$tree" -name "$name.ko*" | head -1)
  case $file in
    *.ko) cp "$file" "$top/modules/" ;;
    *.xz) xz -dc "$file" >"$top/modules/$name.ko" ;;
  esac
done

cat >"$top/init" <<'END'
#!/bin/sh
export PATH=/bin HOME=/tmp GANTRY_ROOT=/store XDG_CONFIG_HOME=/tmp
# The first root of a kernel is none that a container's can take the place of.
if [ ! -e /again ]; then
  mkdir -p /root
  mount -t tmpfs -o mode=755 tmpfs /root
  for name in *; do [ $name = root ] || cp -a $name /root/; done
  touch /root/again
  exec switch_root /root /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 tmpfs /store
mount -t tmpfs -o mode=755 tmpfs /run
for name in virtio_ring virtio virtio_mmio virtio_blk overlay; do
  [ ! -e /modules/$name.ko ] || insmod /modules/$name.ko || echo "no module $name"
done
ip link set lo up
run='gantry-run -q --insecure-options=image'
image=oci:/image:v1
# check NAME CODE PATTERN COMMAND...: its code, and a line of its output.
check() {
  name=$1 want=$2 pattern=$3
  shift 3
  got=0
  "$@" >/tmp/out 2>&1 || got=$?
  if [ $got = "$want" ] && grep -Eq -- "$pattern" /tmp/out; then
    echo "ok: $name"
  else
    echo "not ok: $name: exit $got"
    cat /tmp/out
  fi
}
eat='x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr "\0" a); echo ${#x}'
forks='for i in 1 2 3 4 5 6 7 8; do sleep 1 & done;'

mount -t cgroup2 cgroup2 /sys/fs/cgroup
check 'memory' 137 '' $run --memory 16m --memory-swap 16m $image sh -c "$eat"
check 'processes' 2 'fork' $run --pids 5 $image sh -c "$forks"
check 'the default number of processes' 0 '^2048$' $run $image cat /sys/fs/cgroup/pids.max
check 'processors' 0 'nr_throttled [1-9]' $run --cpus 0.2 $image \
  sh -c 'timeout 1 sh -c "while :; do :; done"; cat /sys/fs/cgroup/cpu.stat'
check 'weights and sets' 0 '^49 0 0 default 102$' $run --cpu-shares 1280 --cpuset-cpus 0 --cpuset-mems 0 --io weight=20 $image \
  sh -c 'cd /sys/fs/cgroup; echo $(cat cpu.weight cpuset.cpus cpuset.mems io.weight)'
check 'a rate' 0 '^slow$' $run --io write-bps=/dev/vda:1m --device /dev/vda $image \
  sh -c 'begin=$(date +%s); dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null; [ $(($(date +%s) - begin)) -ge 2 ] && echo slow'
check 'a device that was not given' 1 'not permitted' $run --cap-add mknod $image sh -c 'mknod /dev/x b 254 0; head -c 1 /dev/x; mknod /dev/y b 253 0; head -c 1 /dev/y'
check 'a device to read' 0 '^read$' $run --device /dev/vda:/dev/x:r $image \
  sh -c 'head -c 1 /dev/x >/dev/null && ! dd if=/dev/zero of=/dev/x bs=1 count=1 2>/dev/null && echo read'
# As systemd does for a service with Delegate=yes; what limits that limits what runs in it.
echo +pids >/sys/fs/cgroup/cgroup.subtree_control
in_unit() {
  mkdir /sys/fs/cgroup/unit
  chown "${owner:-0}" /sys/fs/cgroup/unit
  setfattr -n trusted.delegate -v 1 /sys/fs/cgroup/unit
  echo 12 >/sys/fs/cgroup/unit/pids.max
  code=0
  sh -c 'echo $$ >/sys/fs/cgroup/unit/cgroup.procs && exec "$@"' - "$@" || code=$?
  for i in $(seq 100); do rmdir /sys/fs/cgroup/unit/gantry-runner /sys/fs/cgroup/unit 2>/dev/null; [ -d /sys/fs/cgroup/unit ] || break; sleep 0.1; done
  return $code
}
check 'in a unit: processes of the pod' 2 'fork' in_unit $run --pids 5 $image sh -c "$forks"
check 'in a unit: processes of the unit' 2 'fork' in_unit $run $image sh -c "$forks$forks"
groups="uuid=\$($run -d $image sleep 100); cat /proc/\$($run status \$uuid | sed -n 's/^pid-.*=//p')/cgroup; $run rm -f \$uuid >/dev/null"
check 'in a unit: the groups' 0 '^0::/unit/gantry-[^/]*$' in_unit sh -c "$groups"
owner=1000
check 'in a unit of another user: the groups' 0 '^0::/gantry-[^/]*$' in_unit sh -c "$groups"
oci='gantry-oci --root /run/oci'
$oci run --detach --bundle /bundle c </dev/null >/tmp/out 2>&1 || cat /tmp/out
for i in $(seq 100); do grep -q pids /sys/fs/cgroup/c/cgroup.subtree_control && break; sleep 0.1; done
check 'executed where controllers go down' 0 '^0::/init$' $oci exec c cat /proc/self/cgroup
check 'executed where it is told' 1 'hands controllers down' $oci exec --cgroup / c true
$oci delete --force c
check 'in a unit: nothing is left' 1 '^$' sh -c 'ls -d /sys/fs/cgroup/unit 2>/dev/null || { echo; exit 1; }'
check 'nothing is left' 1 '^$' sh -c 'ls -d /sys/fs/cgroup/gantry-*/ 2>/dev/null || { echo; exit 1; }'

# Both: memory as version 1, the others as version 2.
umount /sys/fs/cgroup
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory /sys/fs/cgroup/unified
mount -t cgroup -o memory memory /sys/fs/cgroup/memory || echo 'not ok: memory of version 1'
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
check 'hybrid: memory' 137 '' $run --memory 16m $image sh -c "$eat"
check 'hybrid: processes' 2 'fork' $run --pids 5 $image sh -c "$forks"
check 'hybrid: a device that was not given' 1 'not permitted' $run --cap-add mknod $image sh -c 'mknod /dev/y b 253 0; head -c 1 /dev/y'
umount /sys/fs/cgroup/unified
check 'version 1 alone: memory' 137 '' $run --memory 16m $image sh -c "$eat"
check 'version 1 alone: no controller' 125 "there is no 'pids' controller" $run --pids 5 $image true
umount /sys/fs/cgroup/memory

check 'none: it runs' 0 'hello' $run $image
check 'none: it is told' 0 'no cgroups at /sys/fs/cgroup' gantry-run --verbose --insecure-options=image $image true
for limit in '--memory 32m' '--pids 5' '--cpus 1' '--io weight=20' '--cpuset-cpus 0' '--device /dev/vda'; do
  check "none: $limit" 125 'cannot be set' $run $limit $image true
done
echo done
reboot -f
END
chmod 0755 "$top/init"
(cd "$top" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$T/initramfs.gz"
truncate -s 64M "$T/disk"
khz=$(awk -F: '/MHz/ { printf "%d", $2 * 1000; exit }' /proc/cpuinfo)
timeout 500 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel tcg -cpu max -m 512M \
  -machine microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,auto-kernel-cmdline=off,usb=off \
  -global virtio-mmio.force-legacy=false -kernel "$(gantry_kernel)" -initrd "$T/initramfs.gz" \
  -append "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t 8250.nr_uarts=1 cryptomgr.notests random.trust_cpu=on tsc=reliable no_timer_check
    noreplace-smp tsc_early_khz=$khz" \
  -drive "id=disk,file=$T/disk,format=raw,if=none" -device virtio-blk-device,drive=disk \
  -serial "file:$T/console" || fail "the machine: $(cat "$T/console")"
tr -d '\r' <"$T/console" >"$T/out"
! grep -q '^not ok' "$T/out" || fail "$(cat "$T/out")"
expect_text '^done$' "$T/out"
