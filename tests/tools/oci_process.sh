# What config.json says of a process's scheduling, of how mounts spread from its root, and of ids of whole trees.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own --mount --propagation shared

# Fields 19 and 41 of stat: the nice value, and the policy, of which 3 is SCHED_BATCH.
make_bundle '.process.args=["sh","-c","cat /proc/self/stat; /bin/busybox ionice -p 1"] |
  .process.scheduler={"policy":"SCHED_BATCH","nice":5} | .process.ioPriority={"class":"IOPRIO_CLASS_BE","priority":6}'
run_bundle 0
[ "$(head -n1 "$T/out" | cut -d' ' -f19,41)" = '5 3' ] || fail "$(cat "$T/out")"
expect_text 'best-effort: prio 6' "$T/out"
make_bundle '.process.args=["true"] | .process.scheduler={"policy":"SCHED_NONE"}'
expect_exit 5 gantry-oci --root "$T/state" run --bundle "$bundle" x

# Processors: of what is executed in the container, not of its first process; "final" is what it is left with.
c=gantry-test-$$
cpu=$(sed -nE 's/^Cpus_allowed_list:.0[-,](.*[-,])?//p' /proc/self/status) # another than 0
if [ -n "$cpu" ]; then
  make_bundle ".process.args=[\"sleep\",\"1000\"] | .process.execCPUAffinity={\"initial\":\"0\",\"final\":\"$cpu\"}"
  oci run --detach --bundle "$bundle" "$c" </dev/null
  ! grep -qx "Cpus_allowed_list:.$cpu" "/proc/$(oci state "$c" | jq .pid)/status" || fail "the first process is moved"
  expect_exit 0 oci exec "$c" grep Cpus_allowed_list /proc/self/status
  expect_text "^Cpus_allowed_list:.$cpu$" "$T/out"
  jq '.process | .args=["grep","Cpus_allowed_list","/proc/self/status"] | .execCPUAffinity={"final":"0"}' "$bundle/config.json" >"$T/process"
  expect_exit 0 oci exec --process "$T/process" "$c"
  expect_text '^Cpus_allowed_list:.0$' "$T/out"
  jq '.execCPUAffinity={"final":"8000"}' "$T/process" >"$T/nowhere"
  expect_exit 1 oci exec --process "$T/nowhere" "$c"
  expect_text execCPUAffinity "$T/err"
  oci delete --force "$c"
  nothing_is_left "$c"
fi

# A limit that may not be raised is told of at create, when engines listen; one that may is none before the start.
if [ "$(ulimit -Hn)" != unlimited ]; then
  make_bundle '.process.args=["true"] | .process.rlimits=[{"type":"RLIMIT_NOFILE","soft":100,"hard":4611686018427387904}]'
  expect_exit 1 oci create --bundle "$bundle" "$c"
  expect_text 'RLIMIT_NOFILE' "$T/err"
  nothing_is_left "$c"
fi

# The root of the container, as the last line of mountinfo for "/" has it.
for kind in shared:shared: slave:master: private: rprivate: unbindable:unbindable; do
  make_bundle ".process.args=[\"sh\",\"-c\",\"grep ' / / \\\\|rootfs / ' /proc/self/mountinfo\"] | .linux.rootfsPropagation=\"${kind%%:*}\""
  run_bundle 0
  how=$(sed -n '$s/^[^-]*rw[^ ]* //; $s/ -.*//p' "$T/out")
  case $kind in
    private: | rprivate:) ! grep -qE 'shared:|master:|unbindable' <<<"$how" || fail "$kind $how" ;;
    *) grep -q "${kind#*:}" <<<"$how" || fail "$kind: $(cat "$T/out")" ;;
  esac
done

# idmap is for the mount alone, ridmap for what is mounted below, too.
mkdir -p "$T/source/below"
mount -t tmpfs none "$T/source/below"
at_exit 'umount "$T/source/below" 2>/dev/null'
touch "$T/source/file" "$T/source/below/file"
chown 1000:1000 "$T/source/file" "$T/source/below/file"
for option in idmap:1000 ridmap:7; do
  make_bundle ".process.args=[\"stat\",\"-c\",\"%u\",\"/m/file\",\"/m/below/file\"] | .mounts+=[{destination:\"/m\",source:\"$T/source\",
    options:[\"rbind\",\"${option%:*}\"],uidMappings:[{containerID:1000,hostID:7,size:1}],gidMappings:[{containerID:1000,hostID:7,size:1}]}]"
  run_bundle 0
  [ "$(xargs <"$T/out")" = "7 ${option#*:}" ] || fail "$option: $(xargs <"$T/out")"
done
