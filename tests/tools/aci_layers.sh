#!/bin/bash
# An image as one ACI a layer: each is valid for appc's validator, rendered by its rules they are what umoci unpacks, and
# the same on every run; the image comes back from them, with its digest while its layers lie beside them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/actool.sh"
. "$(dirname "$0")/../support/render_acis.sh"
need jq tar umoci
[ "$(id -u)" = 0 ] || skip "owners can be compared by root only"
need_actool
make_busybox_image "$T/img" v1
convert() { gantry-convert -q --insecure-options=image "$@" >"$T/out" 2>"$T/err" || fail "$(cat "$T/err")"; }

stem=$T/acis/img-v1-linux-$(gantry-inspect --json "oci:$T/img:v1" | jq -r '.platform | split("/")[1]' |
  sed 's/arm64/aarch64/')
convert --layers "oci:$T/img:v1" "aci:$T/acis"
expect_text "^sha512-[0-9a-f]{128}  $stem-0.aci\$" "$T/out"
for aci in "$T"/acis/*.aci; do
  "$actool" validate "$aci" 2>"$T/err" || fail "actool: $(cat "$T/err")"
done
convert --layers --threads 1 "oci:$T/img:v1" "aci:$T/again/"
diff -r "$T/acis" "$T/again" || fail "two runs made different bytes"
expect_exit 1 gantry-convert --insecure-options=image --layers "oci:$T/img:v1" "aci:$T/acis"
convert --layers --overwrite "oci:$T/img:v1" "aci:$T/acis"

render_acis "$T/rendered" "$stem-2.aci" "$stem-1.aci" "$stem-0.aci"
umoci unpack --image "$T/img:v1" "$T/bundle" >/dev/null 2>&1
rm "$T"/rendered/dev/{fd,stdin,stdout,stderr}
# The times of the root and of /dev are ours: the links were added. A directory's size is its file system's business.
list() { (cd "$1" && find . -mindepth 1 -printf '%p %y %m %U:%G %s %l %T@ %n\n' | LC_ALL=C sort) |
  sed -E '/^\.\/dev d/d; s/ d ([0-7]+ [^ ]+) [0-9]+ / d \1 /; s/ d (.*) [0-9.]+ ( *[0-9]+)$/ d \1\2/'; }
list "$T/bundle/rootfs" | sed -E '/ [bcpdl] /!s/ [0-9]+$//' >"$T/umoci.list"
list "$T/rendered" | sed -E '/ [bcpdl] /!s/ [0-9]+$//' >"$T/aci.list"
diff "$T/umoci.list" "$T/aci.list" || fail "umoci and the rendering disagree"
diff -r --no-dereference -x dev "$T/bundle/rootfs" "$T/rendered" || fail "contents differ"

gantry-inspect --raw "oci:$T/img:v1" >"$T/manifest"
for source in "$T/acis" "$stem-0.aci"; do
  gantry-inspect --raw "aci:$source" | cmp - "$T/manifest" || fail "another manifest from $source"
done
rm -r "$T/acis/blobs"
[ "$(gantry-inspect -q --identity "aci:$T/acis")" = "$(gantry-inspect -q --identity "oci:$T/img:v1")" ] ||
  fail "another identity"
mv "$stem-1.aci" "$T/elsewhere"
expect_exit 3 gantry-inspect "aci:$stem-0.aci"
convert --dependency "$T/elsewhere" "aci:$stem-0.aci" "oci:$T/back:v1"
