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
