# Each flag of `update` sets what it names, in a container that runs; what this kernel does not take is an error.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
[ -d /sys/fs/cgroup/memory ] && [ -d /sys/fs/cgroup/cpuset ] || skip "no cgroup v1 with memory and cpuset"
c=gantry-test-$$
make_bundle '.process.args=["sleep","1000"]'
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
# set_flag FLAG VALUE FILE [CONTENT]
set_flag() {
  local file
  file=$(find "/sys/fs/cgroup/${3%%/*}/" -maxdepth 4 -type d -name "$c")/${3#*/}
  if oci update "$1" "$2" "$c" 2>"$T/err"; then
    [ "$(cat "$file")" = "${4:-$2}" ] || fail "$1 $2: $3 is $(cat "$file")"
  else
    expect_text "${3#*/}" "$T/err"
    ! echo "${4:-$2}" 2>/dev/null >"$file" || fail "the kernel takes $1 $2: $(cat "$T/err")"
  fi
}
set_flag --memory 64M memory/memory.limit_in_bytes 67108864
set_flag --memory-reservation 32M memory/memory.soft_limit_in_bytes 33554432
set_flag --cpu-shares 300 cpu/cpu.shares
set_flag --cpu-share 301 cpu/cpu.shares
set_flag --cpu-period 50000 cpu/cpu.cfs_period_us
set_flag --cpu-quota 40000 cpu/cpu.cfs_quota_us
set_flag --cpu-burst 1000 cpu/cpu.cfs_burst_us
set_flag --cpu-idle 1 cpu/cpu.idle
set_flag --cpu-rt-period 900000 cpu/cpu.rt_period_us
set_flag --cpu-rt-runtime 1000 cpu/cpu.rt_runtime_us
set_flag --cpuset-cpus 0 cpuset/cpuset.cpus
set_flag --cpuset-mems 0 cpuset/cpuset.mems
set_flag --pids-limit 33 pids/pids.max
set_flag --blkio-weight 200 blkio/blkio.bfq.weight
# Less than it uses and cannot give back.
expect_exit 1 oci update --memory 1k "$c"
expect_text "cannot set memory.limit_in_bytes to '1024': the container uses [0-9]+ bytes, and cannot do with so little" "$T/err"
oci delete --force "$c"
nothing_is_left "$c"
