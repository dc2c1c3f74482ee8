#!/bin/bash
# Compares gantry with its peers in one run on one machine and prints ratios; run by ./dev bench [SECTION...], where a
# section is fetch, upload, sync, unpack, start, cold, convert, recompress, identity, files, verify, repack, serve or machine.
# Commands of a comparison take turns; every figure is a median. Nothing here passes or fails: what is expected stands
# beside.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export BENCH_LIB=$here/../support/lib.sh
cache=$here/../../build/bench
all=(fetch upload sync unpack start cold convert recompress identity files verify repack serve machine)
sections=" ${*:-${all[*]}} "
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

TMPDIR=$cache bash "$here/make_image.sh" "$cache/image"

export TMPDIR=$cache
# shellcheck source=../support/lib.sh
. "$BENCH_LIB"

# shellcheck source=machine.sh
. "$here/machine.sh"
# shellcheck source=../support/signers.sh
. "$here/../support/signers.sh"
# shellcheck source=start.sh
. "$here/start.sh"

accept_anything

layers() { jq -r .layers[].digest "$1/blobs/sha256/$(jq -r .manifests[0].digest "$1/index.json" | cut -d: -f2)" | cut -d: -f2; }
blobs=()
for hex in $(layers "$cache/image"); do
  blobs+=("$cache/image/blobs/sha256/$hex")
done

# A hypervisor takes back what memory has been free for seconds, and to touch it anew costs ten times a copy. As on a
# server in use, none is free: the cache of a file, which gives way to whatever is written, has it all. PREPARE ends with
# this where much is written. Each time as much is read of the file as is free, and nothing of it twice; what the commands
# read is in memory afterwards, too.
used_memory="sh $T/use_memory.sh"
truncate -s 8T "$T/hole"
cat >"$T/use_memory.sh" <<EOF
at=\$(cat $T/used 2>/dev/null || echo 0)
free=\$(awk '/^MemFree/ { print int(\$2 / 1024) }' /proc/meminfo)
dd if=$T/hole bs=1M skip=\$at count=\$free of=/dev/null 2>/dev/null
echo \$((at + free)) >$T/used
find $cache/image/blobs $T/registry-*/data -type f -size +64k -exec cat {} + >/dev/null 2>&1
true
EOF

# entry LABEL PREPARE WORD...: a line for bench_measure. MOUNT_NAMESPACE may name one.
entry() {
  local label=$1 prepare=$2
  shift 2
  printf '%s\t%s\t%s\t%s\n' "$label" "${MOUNT_NAMESPACE:--}" "$prepare" "$*"
}

# table TITLE EXPECTED [MIB]: reads the lines of bench_measure, gantry's first, and prints gantry's share of each peer.
# EXPECTED has a field for each of these, that semicolons separate. MIB: of memory, that gantry is to stay below.
table() {
  printf '\n%s\n  %-34s %10s %10s %9s   %s\n' "$1" '' wall CPU peak "gantry's wall, of this one's"
  awk -F '\t' -v expected="$2" -v most="${3:-128}" '
    function time(ms) { return ms < 1000 ? sprintf("%.1f ms", ms) : sprintf("%.2f s", ms / 1000) }
    { printf "  %-34s %10s %10s %5.0f MiB", $1, time($2), time($3), $4 / 1024 }
    NR == 1 { own = $2; peak = $4; print "" }
    NR > 1 { printf "   %.2f", own / $2; n = split(expected, e, ";"); if (e[NR - 1] != "") printf " (expected: %s)", e[NR - 1]; print "" }
    END { if (peak / 1024 > most) print "  peak memory is over the expected " most " MiB" }'
}

printf 'image: %s in %s layers, compressed; %s cores, %s\n' "$(du -sh "$cache/image" | cut -f1)" "${#blobs[@]}" \
  "$(nproc)" "$(awk -F ': ' '/^model name/ {print $2; exit}' /proc/cpuinfo)"

fetch() {
  start_registry
  push "$cache/image:bench" bench/debian:v1
  local clean="rm -rf $T/store $T/skopeo; sync; $used_memory"
  {
    entry 'gantry-fetch' "$clean" gantry-fetch -q "docker://$registry/bench/debian:v1"
    entry 'skopeo copy docker: oci:' "$clean" skopeo --insecure-policy copy -q --src-tls-verify=false \
      "docker://$registry/bench/debian:v1" "oci:$T/skopeo:v1"
  } | bench_measure 5 0 | table 'fetch from a registry on this machine' 'at most 0.5'
  rm -rf "$T/store" "$T/skopeo"
}

# spend_log PID...: makes $T/spent.sh, which notes in $T/spent what these processes have spent so far: to run before and
# after a command that bench_measure runs.
spend_log() {
  : >"$T/spent"
  printf '%s' "awk -v hertz=$(getconf CLK_TCK) '{ sum += \$14 + \$15 } END { print sum * 1000 / hertz }'" >"$T/spent.sh"
  printf ' /proc/%s/stat' "$@" >>"$T/spent.sh"
  printf ' >>%s\n' "$T/spent" >>"$T/spent.sh"
}

# spent_share LABEL WALL: what they spent on the measured runs of one command, over the cores that they have in common with
# it, as a share of a peer's wall: a client that takes no time at all can do no better.
spent_share() {
  awk -v label="$1" -v wall="$2" -v cores="$(nproc)" '
    NR > 2 && NR % 2 { before = $1 }
    NR > 2 && NR % 2 == 0 { sum += $1 - before; ++runs }
    END { printf "  %-34s %10s %7d ms %9s   the cores alone: %.2f\n", label, "", sum / runs, "", sum / runs / cores / wall }' \
    "$T/spent"
}

# A hundred small images, each with a layer of its own over one that all have, into another registry: one that has nothing,
# and one that has them all. What was there is only moved away: ext4 is slow to make files where many were just deleted.
sync() {
  local i source target data clean
  mkdir -p "$T/base" "$T/own"
  head -c 200000 /dev/urandom >"$T/base/data"
  start_registry
  source=$registry
  for i in $(seq 100); do
    head -c 20000 /dev/urandom >"$T/own/data-$i"
    make_image "$T/many" "v$i" '{"Cmd":["/x"]}' "$T/base" "$T/own"
    rm "$T/own/data-$i"
    push "$T/many:v$i" "bench/many:v$i"
  done
  start_registry
  target=$registry data=${registry_log%/*}/data
  for clean in "[ ! -e $data/docker ] || mv $data/docker \$(mktemp -d $T/gone-XXXXXX); sync; $used_memory" true; do
    spend_log "${started_pids[@]: -2}"
    {
      entry 'gantry-sync' "$clean; sh $T/spent.sh" gantry-sync -q "$source/bench/many" "docker://$target/a/"
      entry 'skopeo sync' "sh $T/spent.sh; $clean" skopeo --insecure-policy sync --src docker --dest docker \
        --src-tls-verify=false --dest-tls-verify=false "$source/bench/many" "$target/a"
    } | bench_measure 3 0 >"$T/measured"
    table "sync of 100 small images$([ "$clean" != true ] || echo ', all of them there')" 'at most 0.2' <"$T/measured"
    spent_share 'the registries alone, for gantry' "$(tail -n 1 "$T/measured" | cut -f2)"
  done
  rm -rf "$T/many" "$T/base" "$T/own"
}

# Into a registry that has nothing, each time; and into one that does nothing, where only the clients are measured.
# Docker's hashes on the same cores and waits for its disk: what curl takes for sending it the layers is the least that a
# client can take, and what it takes to write them without any registry the least for all.
upload() {
  start_registry
  local clean="rm -rf ${registry_log%/*}/data/*; sync; $used_memory"
  cat >"$T/curl.sh" <<'END'
at=$1
shift
for layer; do
  (
    session=$(curl -sS -o /dev/null -w '%header{location}' -X POST "$at/blobs/uploads/")
    [[ $session != /* ]] || session=${at%%/v2/*}$session
    curl -fsS -o /dev/null -H Expect: -T "$layer" "$session&digest=sha256:${layer##*/}"
  ) &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
END
  pushed() {
    entry 'gantry-push' "$1; sh $T/spent.sh" gantry-push -q "oci:$cache/image:bench" "docker://$registry/bench/debian:v1"
    entry 'skopeo copy oci: docker:' "sh $T/spent.sh; $1" skopeo --insecure-policy copy -q --dest-tls-verify=false \
      "oci:$cache/image:bench" "docker://$registry/bench/debian:v2"
    entry 'curl -T, all layers at once' "$1" bash "$T/curl.sh" "http://$registry/v2/bench/debian" "${blobs[@]}"
  }
  spend_log "${started_pids[-1]}"
  printf 'cat "$@" | dd of=%s/written bs=1M conv=fsync\n' "$T" >"$T/dd.sh"
  {
    pushed "$clean"
    entry 'dd, all layers to the disk' "rm -f $T/written; sync; $used_memory" sh "$T/dd.sh" "${blobs[@]}"
  } | bench_measure 5 0 >"$T/measured"
  table 'push to a registry on this machine' 'at most 0.5' <"$T/measured"
  spent_share 'the registry alone, for gantry' "$(sed -n 2p "$T/measured" | cut -f2)"
  awk -F '\t' 'NR == 2 { peer = $2 } END { printf "  of the wall of skopeo, the disk alone takes %.2f\n", $2 / peer }' "$T/measured"
  rm -f "$T/written"
  bench_registry >"$T/address" &
  started_pids+=($!)
  until registry=$(grep . "$T/address"); do sleep 0.05; done
  pushed true | bench_measure 5 0 | table 'push to a registry that keeps nothing' 'at most 0.5'
}

# fresh_disk DIRECTORY: writes $T/fresh.sh, which gives the directory an ext4 of its own. For what makes many files: where
# many were just deleted, ext4 is slow to make new ones, and every run would delete those of the one before. Nothing is
# written twice, nor initialised beside. The mounts are seen by measured_apart only and end with it.
fresh_disk() {
  cat >"$T/fresh.sh" <<EOF
! mountpoint -q $1 || umount $1 || { sleep 1 && umount $1; }
rm -rf $1 $T/disk
mkdir $1
truncate -s 16G $T/disk
mkfs.ext4 -q -E lazy_itable_init=1 $T/disk
if device=\$(losetup -f --show --direct-io=on $T/disk); then
  mount -o noinit_itable \$device $1
  losetup -d \$device # once it is unmounted
else
  echo 'no loop device: on the same file system as all the rest' >&2
fi
sync
$used_memory
EOF
}
measured_apart() { unshare -m --propagation private bench_measure "$@"; }

unpack() {
  local clean="sh $T/fresh.sh"
  fresh_disk "$T/unpacked"
  printf 'for layer; do igzip -dc "$layer" | tar -x -C %s/unpacked; done\n' "$T" >"$T/tar.sh"
  # What gantry-run renders lies in its store, whose blobs were hashed when they came in; umoci knows no such place.
  cp "$T/fresh.sh" "$T/fetched.sh"
  printf 'gantry-convert -q --root %s/unpacked/store oci:%s/image:bench store:bench/debian:v1 >/dev/null; sync; %s\n' \
    "$T" "$cache" "$used_memory" >>"$T/fetched.sh"
  {
    entry 'gantry, rendering from its store' "sh $T/fetched.sh" bench_unpack "$T/unpacked/store" bench/debian:v1
    entry 'gantry, rendering from a layout' "$clean" bench_unpack "$T/unpacked/store" "$cache/image" bench
    entry 'umoci unpack' "$clean" umoci unpack --image "$cache/image:bench" "$T/unpacked/bundle"
    entry 'igzip -dc | tar x, layer by layer' "$clean" bash "$T/tar.sh" "${blobs[@]}"
  } | measured_apart 3 0 | table 'unpack' ';at most 0.15'
  rm -rf "$T/unpacked" "$T/disk"
}

# median_parts COMMAND...: bench_parts three times, and the median of each part: what it takes to write a file varies.
median_parts() {
  for _ in 1 2 3; do "$@"; done | awk -F '\t' '
    !($1 in count) { name[++names] = $1; least[$1] = $2 }
    { ++count[$1]; sum[$1] += $2; mib[$1] = $3 }
    $2 < least[$1] { least[$1] = $2 }
    $2 > most[$1] { most[$1] = $2 }
    END { for (i = 1; i <= names; ++i) { n = name[i]; printf "%s\t%.2f\t%d\n", n, sum[n] - least[n] - most[n], mib[n] } }'
}

parts() { median_parts bench_parts "$@"; }

# How many entries the layers have that are given as arguments.
count_paths() {
  local layer
  for layer; do igzip -dc "$layer" | tar -t; done | wc -l
}

# against_parts EXPECTED TITLE [OF_PARTS [PATHS [IN_A_ROW]]]: reads the lines of bench_measure, gantry's first and then
# peers, and prints them beside the sum of the parts in $T/parts over the cores, and what share of each peer that is:
# nothing on these cores can do better. EXPECTED is of the peers, OF_PARTS, else 1.25, of the parts. PATHS: of the image,
# else those of the benchmarks' image; its memory is to stay below 64 MiB and 128 bytes for each. IN_A_ROW: what is
# expected of the parts on one core, one after the other.
against_parts() {
  : "${image_paths:=$(count_paths "${blobs[@]}")}"
  printf '\n%s\n' "$2"
  awk -F '\t' -v cores="$(nproc)" -v expected="$1" -v of_parts="${3-1.25}" -v paths="${4-$image_paths}" \
    -v in_a_row="${5-}" '
    function time(ms) { return sprintf("%.2f s", ms / 1000) }
    FNR == NR { sum += $2; parts = parts sprintf("    %-32s %21s  %7.0f MiB\n", $1, time($2), $3); next }
    { printf "  %-34s %10s %10s %5.0f MiB", $1, time($2), time($3), $4 / 1024 }
    FNR == 1 { own = $2; cpu = $3; peak = $4; print "" }
    FNR > 1 {
      printf "   gantry takes %.2f of its wall (expected: %s); the parts alone %.2f\n", own / $2, expected, sum / cores / $2
    }
    END {
      printf "  %-34s %10s %10s\n%s", "its parts alone, over the cores", time(sum / cores), time(sum), parts
      share = "  gantry takes %.2f of its parts"
      if (in_a_row != "")
        printf share " one after the other on wall (expected: at most %s)\n", own / sum, in_a_row
      printf share " over the cores on wall, %.2f on CPU (expected: at most %s)\n", own * cores / sum, cpu / sum, of_parts
      most = 64 + paths * 128 / 1048576
      printf "  %.0f of the expected %.0f MiB of memory\n", peak / 1024, most
    }' "$T/parts" -
}

# The blobs of the layers of a layout with one image, as arguments.
layer_files() { layers "$1" | sed "s|^|$1/blobs/sha256/|"; }

# cpu_ms PID: what a process has spent so far.
cpu_ms() { awk -v hertz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hertz }' "/proc/$1/stat"; }

# registry_part REPOSITORY [PID]: a line for $T/parts: what it costs to have the layers read from the registry by curl, with
# what the registry itself, started last if there is no PID, spends on the same cores.
registry_part() {
  local hex before after own pid=${2-${started_pids[-1]}}
  before=$(cpu_ms "$pid")
  own=$({ TIMEFORMAT='%U %S'; time for hex in "${blobs[@]##*/}"; do
    curl -sS -o /dev/null "http://$registry/v2/$1/blobs/sha256:$hex"
  done; } 2>&1 | tail -n 1)
  after=$(cpu_ms "$pid")
  echo "$own $before $after" | awk -v mib="$(du -cm "${blobs[@]}" | tail -n 1 | cut -f1)" \
    '{ printf "curl and the registry\t%.2f\t%d\n", ($1 + $2) * 1000 + $4 - $3, mib }'
}

# Into an ACI: from a layout, and from a registry.
convert() {
  local clean="rm -f $T/out.aci; sync; $used_memory"
  entry 'gantry-convert oci: aci:' "$clean" gantry-convert -q "oci:$cache/image:bench" "aci:$T/out.aci" |
    bench_measure 3 0 >"$T/measured"
  parts sha512 gzip none "$T/out.aci" -- "${blobs[@]}" >"$T/parts"
  against_parts '' 'conversion of a layout to ACI' <"$T/measured"

  start_registry
  push "$cache/image:bench" bench/debian:v1
  # What there was before: skopeo, umoci and tar in a row.
  cat >"$T/peer.sh" <<END
skopeo --insecure-policy copy -q --src-tls-verify=false docker://$registry/bench/debian:v1 oci:$T/peer:v1
umoci raw unpack --image $T/peer:v1 $T/rootfs
tar -C $T --xattrs --numeric-owner -c rootfs | tee >(sha512sum >$T/peer.id) | igzip >$T/peer.aci
END
  clean="rm -rf $T/store $T/out.aci $T/peer $T/rootfs $T/peer.aci; sync; $used_memory"
  {
    entry 'gantry-convert docker:// aci:' "$clean" gantry-convert -q "docker://$registry/bench/debian:v1" "aci:$T/out.aci"
    entry 'skopeo, umoci, tar | igzip' "$clean" bash "$T/peer.sh"
  } | bench_measure 3 0 >"$T/measured"
  registry_part bench/debian >>"$T/parts"
  against_parts 'at most 0.2' 'conversion from a registry to ACI' <"$T/measured"
  sh -c "$clean"
}

# recompressed KIND[:LEVEL] FROM: the layers of a layout in another compression, by us and by skopeo.
recompressed() {
  local clean="rm -rf $T/out $T/peer; sync; $used_memory" made from
  local -a skopeo=(skopeo --insecure-policy copy -q --dest-compress-format "${1%:*}")
  [[ $1 != *:* ]] || skopeo+=(--dest-compress-level "${1#*:}")
  skopeo+=("oci:$2:bench" "oci:$T/peer:v1")
  {
    entry "gantry-convert --compress $1" "$clean" gantry-convert -q --compress "$1" "oci:$2:bench" "oci:$T/out:v1"
    entry "skopeo copy, $1" "$clean" "${skopeo[@]}"
  } | bench_measure 3 0 >"$T/measured"
  sh -c "$clean"
  gantry-convert -q --compress "$1" "oci:$2:bench" "oci:$T/out:v1" >/dev/null
  "${skopeo[@]}"
  mapfile -t made < <(layer_files "$T/out")
  mapfile -t from < <(layer_files "$2")
  parts none "$1" sha256 "${made[@]}" -- "${from[@]}" >"$T/parts"
  against_parts 'at most 0.2' "to $1, $(du -sm "$T/out" | cut -f1) MiB by gantry and $(du -sm "$T/peer" | cut -f1) by skopeo" \
    <"$T/measured"
  [[ $1 != zstd* ]] || least_of_zstd "$1" "${from[@]}"
  sh -c "$clean"
}

# least_of_zstd zstd[:LEVEL] LAYER...: what of skopeo's wall nobody can spare who makes zstd of these layers: the parts in
# $T/parts that come before any compression, and beside them zstd's own command on all cores, out of the page cache into
# nothing, at that level and at its fastest, with what it makes of skopeo's size.
least_of_zstd() {
  local level=3 wall peer kind begun walls
  [[ $1 != *:* ]] || level=${1#*:}
  wall=$(tail -n 1 "$T/measured" | cut -f2) peer=$(layer_files "$T/peer" | xargs cat | wc -c)
  awk -F '\t' -v cores="$(nproc)" -v wall="$wall" '
    $1 == "inflate" || $1 ~ /of the blobs|what is in them/ { before += $2 }
    $1 ~ /comes out|write the file/ { after += $2 }
    END { printf "  why not less: to inflate the layers and check their digests takes %.2f of the wall of skopeo over these cores,\n" \
                 "    to hash and write what comes out %.2f more, and between them to compress, by zstd alone:\n", \
                 before / cores / wall, after / cores / wall }' "$T/parts"
  igzip -dc "${@:2}" >"$T/tar"
  for kind in "-$level" --fast=1 --fast=10; do
    walls=()
    for _ in 1 2 3; do
      begun=$(date +%s%N)
      zstd -q -T0 "$kind" -c "$T/tar" >/dev/null
      walls+=($((($(date +%s%N) - begun) / 1000)))
    done
    awk -v took="$(median "${walls[@]}")" -v wall="$wall" -v bytes="$(zstd -q -T0 "$kind" -c "$T/tar" | wc -c)" \
      -v peer="$peer" -v kind="$kind" 'BEGIN {
      printf "      zstd -T0 %-10s %.2f of it (%.2f of the size that skopeo makes)\n", kind, took / 1000 / wall, bytes / peer }'
  done
  rm -f "$T/tar"
}

# Layers anew: another compression, none in an archive, one in place of all.
recompress() {
  local clean="rm -rf $T/out $T/out.tar $T/peer $T/peer.tar; sync; $used_memory"
  recompressed zstd "$cache/image"
  recompressed zstd:1 "$cache/image"
  gantry-convert -q --compress zstd "oci:$cache/image:bench" "oci:$T/zstd:bench" >/dev/null
  recompressed gzip "$T/zstd"
  rm -rf "$T/zstd"

  {
    entry 'gantry-convert docker-archive:' "$clean" \
      gantry-convert -q "oci:$cache/image:bench" "docker-archive:$T/out.tar:example.com/bench:v1"
    entry 'skopeo copy docker-archive:' "$clean" skopeo --insecure-policy copy -q \
      "oci:$cache/image:bench" "docker-archive:$T/peer.tar:example.com/bench:v1"
  } | bench_measure 3 0 >"$T/measured"
  sh -c "$clean"
  parts none none none -- "${blobs[@]}" >"$T/parts"
  against_parts 'at most 0.2' 'layout to docker-archive:' <"$T/measured"

  # The same tree, by tar: unpacked layer by layer without what whiteouts ask for, and packed again.
  cat >"$T/peer.sh" <<END
rm -rf $T/rootfs; mkdir $T/rootfs
for layer; do igzip -dc "\$layer" | tar -x --xattrs -C $T/rootfs; done
tar -C $T/rootfs --xattrs --numeric-owner -c . | tee >(sha256sum >$T/peer.id) | igzip >$T/peer.tar
END
  {
    entry 'gantry-convert --squash' "$clean" gantry-convert -q --squash "oci:$cache/image:bench" "oci:$T/out:v1"
    entry 'igzip | tar x, tar c | igzip' "$clean" bash "$T/peer.sh" "${blobs[@]}"
  } | bench_measure 3 0 >"$T/measured"
  sh -c "$clean"
  gantry-convert -q --squash "oci:$cache/image:bench" "oci:$T/out:v1" >/dev/null
  mapfile -t made < <(layer_files "$T/out")
  parts sha256 gzip sha256 "${made[@]}" -- "${blobs[@]}" >"$T/parts"
  against_parts 'at most 0.5' 'all layers to one' <"$T/measured"
  sh -c "$clean; rm -rf $T/rootfs"
}

# What an image is, by a pass over its layers and by what the store keeps of one.
identity() {
  gantry-convert -q "oci:$cache/image:bench" "store:bench/debian:v1" >/dev/null
  entry 'gantry-inspect --identity' - gantry-inspect -q --identity "oci:$cache/image:bench" | bench_measure 5 0 >"$T/measured"
  # By its definition: every file that is in the tree, and the layers, whose digests say that it is the image's.
  gantry-convert -q "oci:$cache/image:bench" "aci:$T/tree.aci" >/dev/null
  igzip -dc <"$T/tree.aci" | tar -xO rootfs >"$T/contents"
  parts identity "$T/contents" "${blobs[@]}" >"$T/parts"
  rm "$T/contents" "$T/tree.aci"
  against_parts '' 'identity of the image in a layout' 1.1 "$(count_paths "${blobs[@]}")" 1.1 <"$T/measured"
  gantry-inspect -q --identity bench/debian:v1 >/dev/null
  entry 'the same, kept in the store' - gantry-inspect -q --identity bench/debian:v1 | bench_measure 5 0 |
    table 'identity of the image in a store' ''
  rm -rf "$GANTRY_ROOT"
}

# layout_of_tar LAYOUT TAR: an image whose one layer is that archive, which goes away.
layout_of_tar() {
  local config layer size diff_id
  diff_id=$(sha256sum <"$2" | cut -d' ' -f1)
  igzip -c "$2" >"$2.gz"
  size=$(stat -c%s "$2.gz")
  layer="{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"size\":$size,\"digest\":\"$(put_blob "$1" "$2.gz")\"}"
  printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(image_architecture)" "$diff_id" >"$2"
  size=$(stat -c%s "$2")
  config="{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"size\":$size,\"digest\":\"$(put_blob "$1" "$2")\"}"
  printf '{"schemaVersion":2,"config":%s,"layers":[%s]}' "$config" "$layer" >"$2"
  size=$(stat -c%s "$2")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","size":%s,"digest":"%s"}]}' \
    application/vnd.oci.image.manifest.v1+json "$size" "$(put_blob "$1" "$2")" >"$1/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

# Time linear in entries, and memory a path.
files() {
  local count made
  for count in 10000 100000 1000000; do
    bench_files "$count" >"$T/files.tar"
    mkdir -p "$T/files-$count"
    layout_of_tar "$T/files-$count" "$T/files.tar"
    entry "gantry-convert, $count files" "rm -f $T/out.aci" gantry-convert -q "oci:$T/files-$count" "aci:$T/out.aci"
  done | bench_measure 3 0 >"$T/measured"
  rm -f "$T/out.aci"
  gantry-convert -q "oci:$T/files-1000000" "aci:$T/out.aci" >/dev/null
  mapfile -t made < <(layer_files "$T/files-1000000")
  parts sha512 gzip none "$T/out.aci" -- "${made[@]}" >"$T/parts"
  tail -n 1 "$T/measured" | against_parts '' '1,000,000 empty files to ACI' 1.25 1001000
  awk -F '\t' '
    { match($1, /[0-9]+/); count = substr($1, RSTART, RLENGTH)
      printf "  %8d files: %8.2f s  %6.2f us a file  %5.0f MiB\n", count, $2 / 1000, $2 * 1000 / count, $4 / 1024 }
    NR == 1 { first = $4; few = count } NR > 1 { last = $4; many = count }
    END { printf "  %.0f bytes a path (expected: at most 128)\n", (last - first) * 1024 / (many - few) }' "$T/measured"
  rm -rf "$T"/files-*
}

# One image, signed in each family, against a program that does nothing but the cryptography of that signature.
verify() {
  local signature at=quay.io/org/app:v1
  make_busybox_image "$T/signed" v1
  make_signers
  openssl x509 -in "$T/x509.crt" -noout -pubkey >"$T/x509.pub"
  judged() { entry "gantry-verify, $1" - gantry-verify --policy "$T/$1.json" --as "$at" "oci:$T/signed:v1"; }
  checked() { openssl_verifies=(openssl dgst -sha256 -verify "$T/$1" -signature "$T/$2.sig" "${@:3}" "$T/$2"); }
  measured() { bench_measure 41 0 | table "verify one image, $1" "${2-at most 3 ms more}"; }

  signature=$(sign_by sigstoreSigned --as "$at" "oci:$T/signed:v1")
  tail -c +16 "$signature" | jq -r .payload | base64 -d >"$T/payload"
  tail -c +16 "$signature" | jq -r '.annotations[]' | base64 -d >"$T/payload.sig"
  checked key.pub payload
  { judged sigstoreSigned && entry 'openssl dgst -verify' - "${openssl_verifies[@]}"; } | measured 'by key'

  signature=$(sign_by identitySigned --as "$at" "oci:$T/signed:v1")
  tail -c +16 "$signature" | jq -r .payload | base64 -d >"$T/bundle"
  jq -j '.dsseEnvelope | "DSSEv1 \(.payloadType | length) \(.payloadType) \(.payload | @base64d | length) \(.payload | @base64d)"' \
    "$T/bundle" >"$T/attested"
  jq -r '.dsseEnvelope.signatures[0].sig' "$T/bundle" | base64 -d >"$T/attested.sig"
  checked key.pub attested
  { judged identitySigned && entry 'openssl dgst -verify' - "${openssl_verifies[@]}"; } | measured 'an attestation'

  signature=$(sign_by notationSigned "oci:$T/signed:v1")
  tail -c +16 "$signature" | jq -r .payload | base64 -d >"$T/jws"
  jq -j '.protected + "." + .payload' "$T/jws" >"$T/enveloped"
  jq -r '.signature | gsub("-"; "+") | gsub("_"; "/") | . + "=="' "$T/jws" | base64 -d >"$T/enveloped.sig" 2>/dev/null || :
  checked x509.pub enveloped -sigopt rsa_padding_mode:pss
  { judged notationSigned && entry 'openssl dgst -verify' - "${openssl_verifies[@]}"; } | measured "the Notary Project's"

  signature=$(sign_by signedBy --as "$at" "oci:$T/signed:v1")
  { judged signedBy && entry 'gpgv' - gpgv -q --keyring "$T/key.gpg" -o /dev/null "$signature"; } | measured OpenPGP

  gantry-convert -q "oci:$T/signed:v1" "aci:$T/signed.aci" >/dev/null
  sign_by signedBy "aci:$T/signed.aci" >/dev/null
  printf '{"default":[{"type":"appcSigned","keyPath":"%s"}]}' "$T/key.gpg" >"$T/appcSigned.json"
  # Its digest, which is part of the answer, is of what is in the file: no less than to inflate it, which alone takes about
  # as much as gpgv and 3 ms more.
  printf 'igzip -dc %s >/dev/null\n' "$T/signed.aci" >"$T/inflate.sh"
  printf 'gpgv -q --keyring %s %s.asc %s && igzip -dc %s >/dev/null\n' "$T/key.gpg" "$T/signed.aci"{,,} >"$T/bare.sh"
  {
    entry 'gantry-verify, appcSigned' - gantry-verify --policy "$T/appcSigned.json" "aci:$T/signed.aci"
    entry 'gpgv, which does not look inside' - gpgv -q --keyring "$T/key.gpg" "$T/signed.aci.asc" "$T/signed.aci"
    entry 'igzip -dc, which verifies nothing' - sh "$T/inflate.sh"
    entry 'gpgv, then igzip -dc' - sh "$T/bare.sh"
  } | measured "an App Container Image's" ';;at most 3 ms more'
}

# A changed tree back into a layer: what umoci finds by hashing every file, and we by comparing with the rendered layers.
repack() {
  rm -rf "$T/layout" "$T/bundle"
  cp -r "$cache/image" "$T/layout"
  umoci unpack --image "$T/layout:bench" "$T/bundle" >/dev/null 2>&1
  bench_unpack "$T/repack-store" "$cache/image" bench
  mkdir "$T/bundle/rootfs/added"
  head -c 32M /dev/urandom >"$T/bundle/rootfs/added/data"
  find "$T/bundle/rootfs/usr" -type f | sed -n 1,200p | xargs chmod o-r
  rm -rf "$T/bundle/rootfs/usr/share/doc"
  {
    entry 'gantry, a layer of what changed' "rm -f $T/layer; sync" bench_repack "$cache/image" bench "$T/repack-store" \
      "$T/bundle/rootfs" "$T/layer"
    entry 'umoci repack' "rm -rf $T/new; cp -r $T/layout $T/new; sync" umoci repack --image "$T/new:new" "$T/bundle"
  } | bench_measure 3 0 | table 'repack' 'at most 0.2'
  rm -rf "$T/layout" "$T/bundle" "$T/new" "$T/repack-store" "$T/layer"
}

# rate URL: requests a second that wrk gets answered, by 32 connections.
rate() { wrk -t 1 -c 32 -d 3s "$1" | awk '/^Requests\/sec/ {print $2}'; }

# median NUMBER...: of an odd count of them.
median() { printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"; }

# against_nginx FILE URL: what gantry-serve answers a second with at URL, and nginx with the same file.
against_nginx() {
  local ours=() theirs=()
  curl -fsS -o "$T/www/$1" "$2"
  for _ in 1 2 3; do
    ours+=("$(rate "$2")")
    theirs+=("$(rate "http://127.0.0.1:18081/$1")")
  done
  ours=("$(median "${ours[@]}")") theirs=("$(median "${theirs[@]}")")
  printf '  %-42s %10.1f %10.1f   %.2f of its rate (expected: at least 0.7)\n' "$1, $(stat -c%s "$T/www/$1") bytes" \
    "${ours[0]}" "${theirs[0]}" "$(awk "BEGIN {print ${ours[0]} / ${theirs[0]}}")"
}

# memory_of PID: of it and all below it, each page counted once, in KiB; and how many processes that are.
memory_of() {
  local tree=$1 more=$1
  while [ -n "$more" ]; do
    more=$(pgrep -d, -P "$more" || :)
    tree+=${more:+,$more}
  done
  { tr , '\n' <<<"$tree" | sed 's|.*|/proc/&/smaps_rollup|' | xargs cat 2>/dev/null || :; } |
    awk '/^Pss:/ {sum += $2; ++n} END {print sum + 0, n + 0}'
}

# What is in the cache, against nginx with the same files, both with a log of requests in a file; then a hundred
# conversions at once, of images of two layers.
serve() {
  # shellcheck source=../support/serve.sh
  . "$here/../support/serve.sh"
  local i now processes at_once=0 most=0 begun allowed=$((100 * 64)) pids=()
  start_registry
  mkdir -p "$T/base" "$T/own" "$T/www"
  head -c 60000000 /dev/urandom >"$T/base/data"
  make_image "$T/large" v1 '{"Cmd":["/x"]}' "$T/base"
  push "$T/large:v1" bench/large:v1
  make_busybox_image "$T/small" v1
  push "$T/small:v1" bench/small:v1
  start_server --cache "$T/serve" --access-log "$T/serve.log"
  cat >"$T/nginx.conf" <<END
pid $T/nginx.pid; error_log $T/nginx.err; daemon off; worker_processes auto;
events { worker_connections 1024; }
http { access_log $T/nginx.log; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  server { listen 127.0.0.1:18081; root $T/www; } }
END
  nginx -p "$T" -c "$T/nginx.conf" &
  started_pids+=($!)
  until curl -s -o /dev/null http://127.0.0.1:18081/; do sleep 0.1; done
  printf '\nserve: what is in the cache, by 32 connections %9s %10s\n' 'gantry, /s' 'nginx, /s'
  against_nginx large.aci "$(aci_url bench/large v1)"
  against_nginx small.aci "$(aci_url bench/small v1)"
  against_nginx manifest "http://$server/v2/bench/small/manifests/v1"
  kill "$server_pid"

  head -c 20000000 /dev/urandom >"$T/base/data"
  echo own >"$T/own/file"
  make_image "$T/hundred" v1 '{"Cmd":["/x"]}' "$T/base" "$T/own"
  gantry-build -q --work-path "$T/hundred-build" begin "oci:$T/hundred:v1"
  for i in $(seq 100); do
    gantry-build -q --work-path "$T/hundred-build" label add number "$i"
    gantry-build -q --work-path "$T/hundred-build" push "docker://$registry/bench/hundred:v$i" >/dev/null
  done
  start_server --cache "$T/serve-hundred" --access-log "$T/serve.log" --conversions 100
  begun=$(date +%s%N)
  for i in $(seq 100); do
    curl -fsS -o /dev/null "$(aci_url bench/hundred "v$i")" &
    pids+=($!)
  done
  while jobs -rp | grep -qxF "$(printf '%s\n' "${pids[@]}")"; do
    read -r now processes <<<"$(memory_of "$server_pid")"
    most=$((now > most ? now : most)) at_once=$((processes > at_once ? processes : at_once))
    sleep 0.2
  done
  wait "${pids[@]}"
  printf '  100 conversions at once, 20 MB each: %s ms, %s processes; %s MiB in all at their peak, %s of what is allowed (expected: at most %s MiB)\n' \
    $((($(date +%s%N) - begun) / 1000000)) "$at_once" $((most / 1024)) "$(awk "BEGIN {printf \"%.2f\", $most / 1024 / $allowed}")" "$allowed"
}

for section in "${all[@]}"; do
  [[ $sections != *" $section "* ]] || "$section"
done
