# shellcheck shell=bash
# The section machine of run.sh, which sources this: a command in a virtual machine beside the bare boot of the same
# kernel, with the same command line, by the same QEMU under the same accelerator, to an init that is a script of busybox.

# milliseconds_to_output COMMAND...: until the first byte of it. The rest is waited for.
milliseconds_to_output() {
  local begin=${EPOCHREALTIME/./} end
  {
    read -r -n 1 _
    end=${EPOCHREALTIME/./}
    cat >/dev/null
  } < <("$@" 2>/dev/null)
  echo $(((end - begin) / 1000))
}

# milliseconds_of COMMAND...: until eight of it, begun at once, have ended.
milliseconds_of_eight() {
  local begin=${EPOCHREALTIME/./} pids=()
  for _ in $(seq 8); do
    "$@" >/dev/null 2>&1 &
    pids+=($!)
  done
  wait "${pids[@]}"
  echo $(((${EPOCHREALTIME/./} - begin) / 1000))
}

# beside TITLE UNIT EXPECTED FUNCTION ROUNDS: gantry's figure and the bare machine's by turns, and the first as a share.
beside() {
  local title=$1 unit=$2 expected=$3 function=$4 rounds=$5 ours=() theirs=() own other
  for _ in $(seq "$rounds"); do
    ours+=("$("$function" "${machine[@]}" "oci:$T/busybox:v1" echo first)")
    theirs+=("$("$function" "${bare[@]}")")
  done
  own=$(median "${ours[@]}") other=$(median "${theirs[@]}")
  printf '  %-40s %8s %s, bare %8s %s   %s%s\n' "$title" "$own" "$unit" "$other" "$unit" \
    "$(awk -v a="$own" -v b="$other" 'BEGIN { printf "%.2f", a / b }')" "${expected:+ (expected: $expected)}"
}

# make_bare SCRIPT FILE: an initramfs of busybox whose init is the script.
make_bare() {
  rm -rf "$T/bare-root"
  mkdir -p "$T/bare-root/bin" "$T/bare-root/dev"
  cp "$(command -v busybox)" "$T/bare-root/bin/sh"
  cp "$(command -v busybox)" "$T/bare-root/bin/busybox"
  mknod -m 0600 "$T/bare-root/dev/console" c 5 1
  printf '#!/bin/sh\n%s\n' "$1" >"$T/bare-root/init"
  chmod 0755 "$T/bare-root/init"
  (cd "$T/bare-root" && find . | bsdcpio -o -H newc --quiet) >"$2" 2>/dev/null
}

kib_of() { awk '$1 == "Pss:" { print $2 }' "/proc/$1/smaps_rollup"; }

idle_memory() {
  local uuid pid monitor bare_pid own
  uuid=$("${machine[@]}" -d "oci:$T/busybox:v1" sleep 1000)
  make_bare 'exec /bin/busybox sleep 1000' "$T/idle.cpio"
  "${bare[@]/$T\/bare.cpio/$T/idle.cpio}" >/dev/null 2>&1 &
  bare_pid=$!
  sleep 5
  pid=$(pgrep -P "$(gantry-run status --json "$uuid" | jq .apps[0].pid)")
  monitor=$(gantry-run status --json "$uuid" | jq .runner)
  own=$(($(kib_of "$pid") + $(kib_of "$monitor")))
  printf '  %-40s %8s MiB, bare %6s MiB\n' 'memory of an idle guest, with its runner' $((own / 1024)) $(($(kib_of "$bare_pid") / 1024))
  gantry-run rm --force "$uuid" >/dev/null
  kill "$bare_pid"
  wait "$bare_pid" || :
}

machine() {
  local kernel arguments
  make_busybox_image "$T/busybox" v1
  machine=(gantry-run -q --isolation=vm --accel=tcg)
  # shellcheck disable=SC2154 # run.sh sets it
  for kernel in /boot/vmlinuz-*-cloud-* "$here"/../../build/kernel/boot/vmlinuz-*; do [ ! -r "$kernel" ] || break; done
  machine+=(--kernel "$kernel")
  arguments=$("${machine[@]}" "oci:$T/busybox:v1" cat /proc/cmdline)
  make_bare 'echo first; exec /bin/busybox reboot -f' "$T/bare.cpio"
  # shellcheck disable=SC2054 # the commas are QEMU's
  bare=(qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -accel tcg -cpu max -m 512M -smp 1
    -machine microvm,acpi=on,pit=on,pic=on,rtc=on,isa-serial=on,auto-kernel-cmdline=off,usb=off
    -kernel "$kernel" -initrd "$T/bare.cpio" -append "$arguments" -serial stdio)
  printf '\nvirtual machines, emulated, kernel %s\n' "${kernel##*/vmlinuz-}"
  beside 'from command to first output' ms 'at most 1.3' milliseconds_to_output 7
  beside 'eight at once, to their ends' ms '' milliseconds_of_eight 3
  idle_memory
  printf '  %-40s kernel %s KiB, initramfs %s KiB, root %s KiB\n' 'what is loaded' $(($(stat -c %s "$kernel") / 1024)) \
    $(($(cat "$T"/store/vm/initramfs-* | wc -c) / 1024)) $(($(cat "$T"/store/layers/*.[es]*/root | wc -c) / 1024))
}
