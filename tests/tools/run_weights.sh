# Weights, reservations, processors and rates reach the container's control group; a device or a controller that is not
# there is said, never passed over.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
run=(gantry-run -q --insecure-options=image)
cgroups=/sys/fs/cgroup
unified() { [ -e "$cgroups/cgroup.controllers" ]; }
has() { [ -d "$cgroups/$1" ] || grep -qsw "$1" "$cgroups/cgroup.controllers"; }
file() { # V1_FILE V2_FILE
  if unified; then echo "$cgroups/gantry-$uuid/$2"; else echo "$(find "$cgroups/${1%%.*}" -name "gantry-$uuid" | head -1)/$1"; fi
}
# with OPTION...: a pod with these limits in place of the one before.
with() {
  [ -z "${uuid-}" ] || gantry run rm -f "$uuid" >/dev/null
  uuid=$("${run[@]}" -d "$@" "$image" sleep 1000)
}
is() { [ "$1" = "$2" ] || fail "$1 instead of $2"; }

if has cpu; then
  with --cpu-shares 2
  is "$(cat "$(file cpu.shares cpu.weight)")" "$(if unified; then echo 1; else echo 2; fi)"
fi
if has cpuset; then
  with --cpuset-cpus 0 --cpuset-mems 0
  is "$(cat "$(file cpuset.cpus cpuset.cpus)") $(cat "$(file cpuset.mems cpuset.mems)")" '0 0'
  expect_exit 125 "${run[@]}" --cpuset-cpus 4095 "$image" true
  expect_text "cannot set cpuset.cpus to '4095'" "$T/err"
fi
if has memory; then
  with --memory-reservation 16m
  is "$(cat "$(file memory.soft_limit_in_bytes memory.low)")" 16777216
fi
device=$(lsblk -dpno NAME 2>/dev/null | head -1 || true)
if [ -n "$device" ] && { has blkio || has io; }; then
  number=$(lsblk -dno MAJ:MIN "$device" | xargs)
  with --io "read-bps=$device:1m" --io "write-iops=$device:100"
  if unified; then
    expect_text "^$number rbps=1048576 .*wiops=100\$" "$(file io.max io.max)"
  else
    expect_text "^$number 1048576\$" "$(file blkio.throttle.read_bps_device io.max)"
    expect_text "^$number 100\$" "$(file blkio.throttle.write_iops_device io.max)"
  fi
else
  expect_exit 125 "${run[@]}" --io write-bps=/dev/null:1m "$image" true
fi
expect_exit 125 "${run[@]}" --io read-bps=/no/such:1m "$image" true
expect_text "device '/no/such'" "$T/err"
for none in weight=9 weight=1001 read-bps=/dev/null:0; do
  expect_exit 125 "${run[@]}" --io $none "$image" true
  expect_text "a weight from 10 to 1000|a rate of 0" "$T/err"
done
expect_exit 125 "${run[@]}" --io speed=1 "$image" true
expect_text 'expected weight=' "$T/err"
gantry run rm -f "$uuid" >/dev/null
