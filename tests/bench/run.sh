#!/bin/bash
# Compares gantry with its peers in one run on one machine and prints ratios; run by ./dev bench [SECTION...], where a
# section is fetch, unpack, start or convert. Commands of a comparison take turns; every figure is a median. Nothing here
# passes or fails: what is expected stands beside.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export BENCH_LIB=$here/../support/lib.sh
cache=$here/../../build/bench
sections=" ${*:-fetch unpack start convert} "
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

TMPDIR=$cache bash "$here/make_image.sh" "$cache/image"

export TMPDIR=$cache
# shellcheck source=../support/lib.sh
. "$BENCH_LIB"

printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"

layers() { jq -r .layers[].digest "$1/blobs/sha256/$(jq -r .manifests[0].digest "$1/index.json" | cut -d: -f2)" | cut -d: -f2; }
blobs=()
for hex in $(layers "$cache/image"); do
  blobs+=("$cache/image/blobs/sha256/$hex")
done

# entry LABEL PREPARE WORD...: a line for bench_measure. MOUNT_NAMESPACE may name one.
entry() {
  local label=$1 prepare=$2
  shift 2
  printf '%s\t%s\t%s\t%s\n' "$label" "${MOUNT_NAMESPACE:--}" "$prepare" "$*"
}

# table TITLE EXPECTED MIB: reads the lines of bench_measure, gantry's first, and prints gantry's share of each peer.
table() {
  printf '\n%s\n  %-34s %10s %10s %9s   %s\n' "$1" '' wall CPU peak "gantry's wall, of this one's"
  awk -F '\t' -v expected="$2" '
    function time(ms) { return ms < 1000 ? sprintf("%.1f ms", ms) : sprintf("%.2f s", ms / 1000) }
    { printf "  %-34s %10s %10s %5.0f MiB", $1, time($2), time($3), $4 / 1024 }
    NR == 1 { own = $2; peak = $4; print "" }
    NR > 1 { printf "   %.2f", own / $2; n = split(expected, e, ";"); if (e[NR - 1] != "") printf " (expected: %s)", e[NR - 1]; print "" }
    END { if (peak / 1024 > 128) print "  peak memory is over the expected 128 MiB" }'
}

printf 'image: %s in %s layers, compressed; %s cores, %s\n' "$(du -sh "$cache/image" | cut -f1)" "${#blobs[@]}" \
  "$(nproc)" "$(awk -F ': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)"

fetch() {
  start_registry
  push "$cache/image:bench" bench/debian:v1
  local clean="rm -rf $T/store $T/skopeo; sync"
  {
    entry 'gantry-fetch' "$clean" gantry-fetch -q "docker://$registry/bench/debian:v1"
    entry 'skopeo copy docker: oci:' "$clean" skopeo --insecure-policy copy -q --src-tls-verify=false \
      "docker://$registry/bench/debian:v1" "oci:$T/skopeo:v1"
  } | bench_measure 5 0 | table 'fetch from a registry on this machine' 'at most 0.8'
  rm -rf "$T/store" "$T/skopeo"
}

# Each run gets an ext4 of its own: where many files were just deleted, ext4 is slow to make new ones, and every run would
# delete those of the one before. The mounts are seen by bench_measure only and end with it.
unpack() {
  local clean="sh $T/fresh.sh"
  cat >"$T/fresh.sh" <<EOF
! mountpoint -q $T/unpacked || umount $T/unpacked
rm -rf $T/unpacked $T/disk
mkdir $T/unpacked
truncate -s 8G $T/disk
mkfs.ext4 -q -E lazy_itable_init=1 $T/disk
mount -o loop $T/disk $T/unpacked || echo 'no loop device: on the same file system as all the rest' >&2
sync
EOF
  printf 'for layer; do igzip -dc "$layer" | tar -x -C %s/unpacked; done\n' "$T" >"$T/tar.sh"
  {
    entry 'gantry, rendering the layers' "$clean" bench_unpack "$cache/image" bench "$T/unpacked/store"
    entry 'umoci unpack' "$clean" umoci unpack --image "$cache/image:bench" "$T/unpacked/bundle"
    entry 'igzip -dc | tar x, layer by layer' "$clean" bash "$T/tar.sh" "${blobs[@]}"
  } | unshare -m --propagation private bench_measure 3 0 | table 'unpack' 'at most 0.15'
  rm -rf "$T/unpacked" "$T/disk"
}

# A bundle for runc and crun, with the mounts and namespaces that runc proposes.
make_bundle() {
  umoci unpack --image "$T/busybox:v1" "$T/bundle" >/dev/null 2>&1
  rm "$T/bundle/config.json"
  (cd "$T/bundle" && runc spec)
  jq '.process.terminal = false | .process.args = ["/bin/true"] | .root.readonly = false' "$T/bundle/config.json" \
    >"$T/config.json"
  mv "$T/config.json" "$T/bundle/config.json"
}

start() {
  local gap pid
  make_busybox_image "$T/busybox" v1
  start_registry
  push "$T/busybox:v1" bench/busybox:v1
  gantry-fetch -q "docker://$registry/bench/busybox:v1" >/dev/null
  make_bundle
  # crun refuses cgroup v1 with a controller-less v2 beside it; it gets a view of the machine without.
  unshare -m --propagation private sh -c '
    if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
    echo ready; exec sleep 600' >"$T/view" &
  pid=$!
  started_pids+=("$pid")
  until grep -q ready "$T/view"; do sleep 0.02; done
  for gap in 0 60; do
    {
      entry 'gantry-run' - gantry-run -q "$registry/bench/busybox:v1" /bin/true
      MOUNT_NAMESPACE=/proc/$pid/ns/mnt entry 'crun run' - crun --root "$T/crun" run -b "$T/bundle" bench-crun
      entry 'runc run' - runc --root "$T/runc" run -b "$T/bundle" bench-runc
      entry 'bwrap --unshare-all' - bwrap --unshare-all --bind "$T/bundle/rootfs" / --proc /proc --dev /dev /bin/true
    } | bench_measure 41 "$gap" | table "start of /bin/true, $gap ms between" 'at most 1.0'
  done
}

convert() {
  local clean="rm -f $T/out.aci; sync"
  entry 'gantry-convert oci: aci:' "$clean" gantry-convert -q "oci:$cache/image:bench" "aci:$T/out.aci" |
    bench_measure 3 0 >"$T/convert"
  bench_parts "$T/out.aci" "${blobs[@]}" >"$T/parts"
  printf '\nconversion to ACI\n'
  awk -F '\t' -v cores="$(nproc)" '
    FNR == NR { wall = $2; cpu = $3; peak = $4; next }
    { sum += $2; parts = parts sprintf("    %-32s %21.2f s  %7.0f MiB\n", $1, $2 / 1000, $3) }
    END {
      printf "  %-34s %8.2f s %8.2f s %5.0f MiB\n", "gantry-convert oci: aci:", wall / 1000, cpu / 1000, peak / 1024
      printf "  %-34s %8.2f s %8.2f s\n%s", "its parts alone, over the cores", sum / 1000 / cores, sum / 1000, parts
      printf "  gantry takes %.2f of its parts on wall, %.2f on CPU (expected: at most 2.0)\n", wall * cores / sum, cpu / sum
      if (peak / 1024 > 128) print "  peak memory is over the expected 128 MiB"
    }' "$T/convert" "$T/parts"
}

for section in fetch unpack start convert; do
  [[ $sections != *" $section "* ]] || "$section"
done
