# Limits of memory, processors and processes reach the container's control group, and hold.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
run=(gantry-run -q --insecure-options=image)
cgroups=/sys/fs/cgroup
has() { [ -d "$cgroups/$1" ] || grep -qsw "$1" "$cgroups/cgroup.controllers"; }
value() { # V1_FILE V2_FILE
  if [ -e "$cgroups/cgroup.controllers" ]; then cat "$cgroups/gantry-$uuid/$2"; else cat "$(find "$cgroups/${1%%.*}" -name "gantry-$uuid" | head -1)/$1"; fi
}

uuid=$("${run[@]}" -d "$image" sleep 1000)
if has pids; then
  [ "$(value pids.max pids.max)" = 2048 ] || fail "the default number of processes"
  expect_exit 2 "${run[@]}" --pids 5 "$image" sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done'
  expect_text 'fork' "$T/err"
else
  expect_exit 125 "${run[@]}" --pids 5 "$image" true
  expect_text "no 'pids' controller" "$T/err"
fi
gantry run rm -f "$uuid" >/dev/null
if has memory; then
  uuid=$("${run[@]}" -d --memory 32m "$image" sleep 1000)
  [ "$(value memory.limit_in_bytes memory.max)" = 33554432 ] || fail "the limit of memory is $(value memory.limit_in_bytes memory.max)"
  gantry run rm -f "$uuid" >/dev/null
  expect_exit 137 "${run[@]}" --memory 16m --memory-swap 16m "$image" sh -c 'x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr "\0" a); echo ${#x}'
else
  expect_exit 125 "${run[@]}" --memory 32m "$image" true
fi
# 0 is no limit, as engines have it.
expect_exit 0 "${run[@]}" --memory 0 --memory-swap 0 --memory-reservation 0 --pids 0 "$image" true
for little in 1 1k 1048575; do
  expect_exit 125 "${run[@]}" --memory "$little" "$image" true
  expect_text "memory '$little': nothing runs in less than 1m" "$T/err"
done
! has memory || expect_exit 0 "${run[@]}" --memory 1m "$image" true
expect_exit 125 "${run[@]}" --memory 32m --memory-swap 16m "$image" true
expect_text 'is less than --memory' "$T/err"
if has cpu; then
  uuid=$("${run[@]}" -d --cpus .5 "$image" sleep 1000)
  case $(value cpu.cfs_quota_us cpu.max) in 50000*) ;; *) fail "the limit of processors" ;; esac
  gantry run rm -f "$uuid" >/dev/null
else
  expect_exit 125 "${run[@]}" --cpus 0.5 "$image" true
fi
