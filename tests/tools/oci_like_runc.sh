# The same bundle under gantry-oci and under runc: what a process sees of itself and of its world is the same.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need runc
[ "$(id -u)" = 0 ] || skip "root's way"

cat >"$T/look" <<'END'
grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:|Umask)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname
hostname; pwd; env; ls /proc/self/fd
# Without their times: the clock goes on from one run to the other.
ls -ln /dev | sed -E 's/ [A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2} / /'
for file in memory/memory.limit_in_bytes cpu/cpu.shares pids/pids.max cpu/cpu.cfs_quota_us; do cat /sys/fs/cgroup/$file; done
# Mounts: where, what, and how; masked files come from another null device, empty directories from another tmpfs.
while read -r _ _ _ root at how rest; do
  case $at in /sys/fs/cgroup*) continue ;; esac
  type=${rest##*- }
  case "$root $type" in '/null '* | *'tmpfs tmpfs ro'* | *nr_inodes=2*) how=masked type='' ;; esac
  echo "$at $how ${type%% *}"
done </proc/self/mountinfo
END
runc spec --help >/dev/null
filters=('.process.capabilities.ambient=[]'
  '.process.user={"uid":1000,"gid":1001,"additionalGids":[5,7],"umask":63} | .process.oomScoreAdj=77 | .process.cwd="/tmp/new"'
  '.process.rlimits=[{"type":"RLIMIT_NOFILE","soft":100,"hard":200},{"type":"RLIMIT_CORE","soft":0,"hard":0}] | .process.noNewPrivileges=false'
  '.linux.sysctl={"net.ipv4.ip_forward":"1","kernel.domainname":"dom"} | .hostname="h" | .mounts+=[{"destination":"/tmp/t","type":"tmpfs","source":"tmpfs","options":["noexec","mode=700"]},{"destination":"/etc/f","source":"f","options":["bind","ro"]}]'
  '.linux.resources.memory={"limit":100000000} | .linux.resources.cpu={"shares":500,"quota":50000} | .linux.resources.pids={"limit":55}'
  '.linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["swapon"],"action":"SCMP_ACT_ERRNO"}]}'
  '.process.capabilities={"bounding":["CAP_KILL","CAP_CHOWN"],"effective":["CAP_KILL"],"permitted":["CAP_KILL","CAP_CHOWN"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]} | .process.user.uid=5'
  '.root.readonly=true | .linux.maskedPaths+=["/proc/version"] | .linux.readonlyPaths+=["/etc"] | .linux.devices=[{"type":"c","path":"/dev/fuse","major":10,"minor":229,"fileMode":438,"uid":3,"gid":4}]')
for filter in "${filters[@]}"; do
  make_bundle "$filter | .process.args=[\"sh\",\"/look\"]"
  cp "$T/look" "$bundle/rootfs/look"
  touch "$bundle/f"
  mkdir -p "$bundle/rootfs/tmp/t"
  run_bundle 0
  (cd "$bundle" && runc --root "$T/runc" run "gantry-test-$$") >"$T/runc.out" 2>"$T/runc.err" || fail "runc: $(cat "$T/runc.err")"
  for file in out runc.out; do sed -i '/^HOME=/d; /^Max locked\|^Max pending/d' "$T/$file"; sort -o "$T/$file" "$T/$file"; done
  diff "$T/runc.out" "$T/out" >"$T/diff" || fail "with $filter: runc (<), gantry-oci (>)"$'\n'"$(grep '^[<>]' "$T/diff")"
done
