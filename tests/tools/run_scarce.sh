# Too few descriptors, control groups that cannot be written to, a directory for temporary files that is none, and a full
# disk under the state of gantry-oci: each a clear word, and nothing left.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own --mount
c=gantry-test-$$

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
run=(gantry-run -q --insecure-options=image)
"${run[@]}" "$image" true
make_bundle '.process.args=["echo","ok"]'
# limited COMMAND...: with so few descriptors that it fails somewhere, each time further on.
for most in 12 16 20 24 28 32 36; do
  for command in "gantry-run -q --insecure-options=image $image true" "gantry-oci --root $T/state run --bundle $bundle $c"; do
    got=0
    # shellcheck disable=SC2086
    (ulimit -Sn $most && exec $command) >"$T/out" 2>"$T/err" || got=$?
    [ $got != 0 ] || continue
    [ $got = 125 ] || [ $got = 1 ] || fail "$most descriptors: exit $got: $command"
    expect_text 'Too many open files' "$T/err"
    expect_text 'raise the limit of open files' "$T/err"
    nothing_is_left "$c"
  done
done
# To remove what was begun needs a descriptor, too: gc does it. A directory without a file is young, and might be in the making.
for _ in $(seq 100); do
  find "$T/store/pods" -mindepth 1 -maxdepth 1 -exec touch -d '5 minutes ago' {} + 2>/dev/null || true
  gantry run gc >/dev/null
  [ -n "$(ls -A "$T/store/pods")" ] || break
  sleep 0.05
done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"

# No place for temporary files is asked for.
TMPDIR=/proc expect_exit 0 "${run[@]}" "$image" true
TMPDIR=/proc run_bundle 0

mkdir "$T/full"
at_exit 'umount "$T/full" 2>/dev/null'
for size in 4k 8k; do
  mount -t tmpfs -o "size=$size" tmpfs "$T/full"
  expect_exit 1 gantry-oci --root "$T/full" run --bundle "$bundle" "$c"
  expect_text 'No space left on device' "$T/err"
  [ -z "$(ls -A "$T/full")" ] || fail "of $size there is left: $(ls -A "$T/full")"
  umount "$T/full"
done

awk '$5 ~ "^/sys/fs/cgroup" {print $5}' /proc/self/mountinfo | sort -r | while read -r group; do mount -o remount,bind,ro "$group"; done
expect_exit 0 "${run[@]}" "$image" echo ok
! grep -q 'control group' "$T/err" || fail "$(cat "$T/err")"
expect_exit 125 "${run[@]}" --memory 100m "$image" true
expect_text 'there is no control group for it' "$T/err"
change_bundle '.linux.resources={pids:{limit:10}}'
got=0
gantry-oci --root "$T/state" run --bundle "$bundle" "$c" >"$T/out" 2>"$T/err" || got=$?
[ $got = 1 ] || [ $got = 7 ] || fail "exit $got"
expect_text 'Read-only file system|control group' "$T/err"
nothing_is_left "$c"
