#!/bin/bash
# An image becomes an ACI that appc's own validator accepts, the same bytes on every run and with any number of threads,
# and tar extracts from it what umoci unpacks from the image.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/actool.sh"
need umoci tar
need_actool

make_busybox_image "$T/img" v1
convert() { gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$@" 2>"$T/err" || fail "$(cat "$T/err")"; }

convert "aci:$T/one.aci" --threads 1 >"$T/out"
convert "aci:$T/two.aci" --threads 2 >/dev/null
cmp "$T/one.aci" "$T/two.aci" || fail "two runs made different bytes"
"$actool" validate "$T/one.aci" 2>"$T/err" || fail "actool: $(cat "$T/err")"

id=$(gzip -dc "$T/one.aci" | sha512sum | cut -d' ' -f1)
[ "$(cat "$T/out")" = "sha512-$id  $T/one.aci" ] || fail "the image ID is not that of the tar: $(cat "$T/out")"
convert "aci:$T/plain.aci" --compress none >/dev/null
[ "$(sha512sum <"$T/plain.aci" | cut -d' ' -f1)" = "$id" ] || fail "--compress none is another tar"

[ "$(tar tf "$T/plain.aci" | head -1)" = manifest ] || fail "the manifest is not first"
mkdir "$T/aci"
tar -C "$T/aci" --xattrs --same-owner -xpf "$T/plain.aci"
umoci unpack --image "$T/img:v1" "$T/bundle" >/dev/null 2>&1
for link in fd stdin stdout stderr; do [ -L "$T/aci/rootfs/dev/$link" ] || fail "no /dev/$link"; done
rm "$T"/aci/rootfs/dev/*
list() { (cd "$1" && find . -mindepth 1 -printf '%p %y %m %U:%G %s %l %T@ %n\n' | LC_ALL=C sort); }
# The root's own time and /dev's are ours: the links were added. A directory's size is its file system's business.
list "$T/aci/rootfs" | sed -E '/^\.\/dev d/d; s/ d ([0-7]+ [^ ]+) [0-9]+ / d \1 /' >"$T/aci.list"
list "$T/bundle/rootfs" | sed -E '/^\.\/dev d/d; s/ d ([0-7]+ [^ ]+) [0-9]+ / d \1 /' >"$T/umoci.list"
diff "$T/umoci.list" "$T/aci.list" || fail "tar and umoci disagree"
diff -r --no-dereference -x dev "$T/bundle/rootfs" "$T/aci/rootfs" || fail "contents differ"
