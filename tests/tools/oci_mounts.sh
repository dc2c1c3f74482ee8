# Mounts of a bundle: idmapped, recursively read-only, copied up, propagated; and time, personality, listen descriptors.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/source/below"
touch "$T/source/file"
chown 1000:1000 "$T/source/file"
mount -t tmpfs none "$T/source/below"
at_exit 'umount "$T/source/below" 2>/dev/null'
run() { # JQ_FILTER COMMAND
  make_bundle ".process.args=[\"sh\",\"-c\",\"$2\"] | .mounts+=[{\"destination\":\"/m\",\"source\":\"$T/source\",$1}]"
  mkdir -p "$bundle/rootfs/full/dir"
  echo inside >"$bundle/rootfs/full/dir/file"
}
run '"options":["rbind","rro"]' 'touch /m/x || touch /m/below/x || echo all-read-only'
run_bundle 0
expect_text '^all-read-only$' "$T/out"
run '"options":["rbind","ro"]' 'touch /m/x || touch /m/below/x && echo below'
run_bundle 0
expect_text '^below$' "$T/out"
run '"options":["bind"]' 'ls /m/below | grep -c . || echo not-below'
run_bundle 0
expect_text 'not-below' "$T/out"
run '"options":["bind","noexec","nosuid","noatime"]' 'grep /source /proc/self/mountinfo'
run_bundle 0
expect_text 'nosuid,noexec,noatime' "$T/out"
# Those for whole trees hold for new file systems, too; "remount" changes what is there.
run '"options":["bind"]' 'touch /full/x || touch /bin/x || echo neither; grep \" /full \" /proc/self/mountinfo'
change_bundle '.mounts+=[{"destination":"/full","type":"tmpfs","source":"tmpfs","options":["rro","rnosuid","silent"]},
  {"destination":"/bin","source":"rootfs/bin","options":["bind"]},{"destination":"/bin","options":["remount","ro","nodev"]}]'
run_bundle 0
expect_text '^neither$' "$T/out"
expect_text ' /full ro,nosuid' "$T/out"
# A read-only tmpfs has what is mounted in it, and the devices.
run '"options":["bind"]' 'touch /full/x || touch /dev/x || cat /full/below/file </dev/null'
echo inside >"$bundle/inside"
change_bundle '.mounts |= map(if .destination == "/dev" then .options+=["ro"] else . end) | .mounts+=[
  {"destination":"/full","type":"tmpfs","source":"tmpfs","options":["ro"]},{"destination":"/full/below/file","source":"inside","options":["bind"]}]'
run_bundle 0
expect_text '^inside$' "$T/out"
run '"options":["bind","readonly","z"]' true
run_bundle 0
expect_text "option 'readonly' of the mount at '/m' has no effect" "$T/err"
! grep -q "'z'" "$T/err" || fail "$(cat "$T/err")"
# A link that is the source itself, over a link that is the place itself.
ln -s "$T/source" "$T/link"
run '"options":["bind"]' 'readlink /there'
change_bundle '.mounts+=[{"destination":"/there","source":"'"$T/link"'","options":["bind","src-nofollow","dest-nofollow"]}]'
ln -s /tmp "$bundle/rootfs/there"
run_bundle 0
expect_text "^$T/source$" "$T/out"
run '"options":["bind","idmap"],"uidMappings":[{"containerID":1000,"hostID":7,"size":1}],"gidMappings":[{"containerID":1000,"hostID":8,"size":1}]' 'stat -c %u:%g /m/file'
run_bundle 0
expect_text '^7:8$' "$T/out"
run '"options":["bind"]' 'cat /full/dir/file; touch /full/new; stat -c %a /full'
change_bundle '.mounts+=[{"destination":"/full","type":"tmpfs","source":"tmpfs","options":["tmpcopyup"]}]'
chmod 0751 "$bundle/rootfs/full"
run_bundle 0
expect_text '^inside$' "$T/out"
expect_text '^751$' "$T/out"
[ ! -e "$bundle/rootfs/full/new" ] || fail "the tmpfs did not cover the directory"

make_bundle '.process.args=["sh","-c","sed s/[.].*// /proc/uptime; grep -c . /proc/self/timens_offsets"] |
  .linux.namespaces+=[{"type":"time"}] | .linux.timeOffsets={"boottime":{"secs":100000000}}'
run_bundle 0
[ "$(head -n1 "$T/out")" -ge 100000000 ] || fail "uptime is $(cat "$T/out")"
make_bundle '.process.args=["cat","/proc/self/personality"] | .linux.personality={"domain":"LINUX32"}'
run_bundle 0
expect_text '^00000008$' "$T/out"
[ -e /sys/fs/selinux/enforce ] || {
  make_bundle '.process.args=["true"] | .linux.mountLabel="label"'
  run_bundle 0
  expect_text 'SELinux is not active: mount label' "$T/err"
}
make_bundle '.process.args=["sh","-c","echo $LISTEN_FDS $LISTEN_PID; cat <&3"]'
LISTEN_FDS=1 expect_exit 0 gantry-oci --root "$T/state" run --bundle "$bundle" l1 3<<<'handed over'
expect_text '^1 1$' "$T/out"
expect_text '^handed over$' "$T/out"
expect_exit 0 gantry-oci --root "$T/state" run --preserve-fds 2 --bundle "$bundle" l1 3<<<third 4<<<fourth
expect_text '^third$' "$T/out"
# Namespaces by path: another container's.
make_bundle '.process.args=["sleep","1000"] | .hostname="first"'
oci run --detach --pid-file "$T/pid" --bundle "$bundle" n1 </dev/null >/dev/null 2>&1
change_bundle '.process.args=["sh","-c","hostname; ps | grep -c sleep"] | del(.hostname) | .linux.namespaces |= map(if .type == "uts" or .type == "pid"
  then .path="/proc/'"$(cat "$T/pid")"'/ns/" + .type else . end)'
expect_exit 0 oci run --bundle "$bundle" n2
[ "$(head -n1 "$T/out")" = first ] || fail "$(cat "$T/out")"
oci delete --force n1

# Root of a user namespace that may not go where the bundle is.
make_bundle '.process.args=["id"] | .linux.namespaces+=[{"type":"user"}] |
  .linux.uidMappings=[{"containerID":0,"hostID":100000,"size":65536}] | .linux.gidMappings=.linux.uidMappings'
chown -R 100000:100000 "$bundle/rootfs"
mkdir -m 0700 "$T/private"
mv "$bundle" "$T/private/bundle"
bundle=$T/private/bundle
run_bundle 0
expect_text '^uid=0' "$T/out"
