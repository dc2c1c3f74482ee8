# A machine that does not start, or may not, is exit 125 and says why; nothing of it is left.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/sh"
make_image "$T/image" v1 '{"Cmd":["/bin/sh","-c","echo ran"]}' "$T/base"

for file in /boot/vmlinuz-* "$GANTRY_SOURCE_DIR"/build/kernel/boot/vmlinuz-*; do [ ! -r "$file" ] || break; done
# What the host does not have is said before anything is rendered.
mkdir "$T/few"
few() {
  local PATH=$GANTRY_BIN:$T/few
  "$@"
}
lacks() {
  expect_exit 125 few gantry-run -q --insecure-options=image --isolation=vm --accel=tcg "${@:2}" "oci:$T/image"
  expect_text "$1" "$T/err"
  [ -z "$(ls -A "$T/store/layers" 2>/dev/null)" ] || fail 'something was rendered in vain'
}
lacks 'qemu-system-x86_64 is not installed'
ln -s "$(command -v qemu-system-x86_64)" "$T/few"
lacks 'nothing makes one' --kernel "$file"
ln -s "$(command -v mkfs.erofs || command -v mksquashfs)" "$T/few"
lacks 'is not a bzImage of Linux' --kernel "$T/image/oci-layout"

# Kernels that hang and that fall over: a real one, but for its first instruction (boot.rst, setup_sects).
start=$((($(od -An -tu1 -j 0x1f1 -N 1 "$file") + 1) * 512))
broken() { # BYTES TEXT SECONDS OPTION...
  cp "$file" "$T/kernel"
  printf "$1" | dd of="$T/kernel" bs=1 seek="$start" conv=notrunc status=none
  expect_exit 125 gantry-run -q --insecure-options=image --isolation=vm --accel=tcg --kernel "$T/kernel" --boot-timeout "$3" \
    "${@:4}" "oci:$T/image"
  expect_text "$2" "$T/err"
  expect_text 'its console said' "$T/err"
}
broken '\xeb\xfe' 'the virtual machine did not start in time' 5
broken '\x0f\x0b' 'the virtual machine ended before the application was started' 60
broken '\x0f\x0b' 'the virtual machine ended before the application was started' 60 --detach
printf 'no kernel' >"$T/text"
expect_exit 125 gantry-run -q --insecure-options=image --isolation=vm --accel=tcg --kernel "$T/text" "oci:$T/image"
expect_text 'is not a bzImage of Linux' "$T/err"

# What is on the disk is what was made of the verified image, or nothing runs.
root=$(echo "$T"/store/layers/*/root)
spoil "$root" 5000
expect_exit 125 "${vm[@]}" "oci:$T/image"
expect_text 'is not what was made of the verified image' "$T/err"
rm -r "$(dirname "$root")"

expect_exit 125 "${vm[@]}" --net=host "oci:$T/image"
expect_text "cannot have the host's network" "$T/err"
expect_exit 125 gantry-run --boot-timeout 5 "oci:$T/image"
expect_text '[-]-boot-timeout is for virtual machines' "$T/err"
expect_exit 125 "${vm[@]}" --memory 12m "oci:$T/image"
expect_text 'bytes of memory are too little for a virtual machine' "$T/err"
expect_exit 125 "${vm[@]}" --cpus 65 "oci:$T/image"
expect_text 'a virtual machine has at most 64 processors' "$T/err"

# What machines cannot do is refused, all of it, and never left out.
refused() {
  local text=$1
  shift
  expect_exit 125 "${vm[@]}" "$@" "oci:$T/image"
  expect_text "a virtual machine cannot .*$text" "$T/err"
}
refused 'show its app the notify socket' --sdnotify=app
refused 'without what is mounted below it' --mount "type=bind,source=$T,target=/x,recursive=false"
refused 'secret .*; device ./dev/null' --secret "s=$T/image/oci-layout" --device /dev/null
refused 'limits of swap' --memory 64m --memory-swap 128m
refused 'limits of swap' --memory-reservation 64m
refused 'shares and sets' --cpu-shares 512
refused 'shares and sets' --cpuset-cpus 0
refused 'limits of input and output' --io weight=100
refused 'an OOM score' --oom-score-adj 100
refused 'no-new-privileges=false' --security-opt no-new-privileges=false
images=("oci:$T/image")
for _ in $(seq 8); do images+=(--- "oci:$T/image"); done
expect_exit 125 "${vm[@]}" "${images[@]}"
expect_text 'a virtual machine takes at most 8 images' "$T/err"
volumes=()
for n in $(seq 15); do mkdir "$T/$n" && volumes+=(-v "$T/$n:/$n"); done
expect_exit 125 "${vm[@]}" "${volumes[@]}" "${images[@]:0:15}"
expect_text 'at most 22 images, volumes and network devices altogether' "$T/err"
expect_exit 7 gantry-run --insecure-options=image prepare --isolation=vm "${kernel[@]}" --net=host "oci:$T/image"
for _ in $(seq 400); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"

# A runner that is killed while its machine starts takes it along.
"${vm[@]}" "oci:$T/image" >"$T/out" 2>"$T/err" &
pid=$!
for _ in $(seq 200); do ! pgrep -P "$pid" -x gantry-init >/dev/null || break; sleep 0.05; done
machine=$(pgrep -P "$pid" -x gantry-init)
kill -KILL "$pid"
wait "$pid" || :
for _ in $(seq 400); do { [ -d "/proc/$machine" ] || [ -n "$(ls -A "$T/store/pods")" ]; } || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
[ ! -d "/proc/$machine" ] || fail "the machine is left"
