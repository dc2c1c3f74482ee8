#!/bin/bash
# Layers are recompressed, squashed and relabelled; skopeo and umoci read each result and find the same image in it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci jq

make_busybox_image "$T/img" v1
convert() { gantry-convert -q --insecure-options=image "$@" >/dev/null 2>"$T/err" || fail "$* $(cat "$T/err")"; }
manifest() { skopeo inspect --raw "oci:$T/$1:v1"; }
unpacked() {
  umoci unpack --image "$T/$1:v1" "$T/$1.bundle" >/dev/null 2>&1 || fail "umoci cannot unpack $1"
  (cd "$T/$1.bundle/rootfs" && find . -printf '%P %y %m %U:%G %n %l\n' | sort && find . -type f | sort | xargs sha256sum)
}

for kind in zstd gzip none; do
  convert --compress "$kind" "oci:$T/img:v1" "oci:$T/$kind:v1"
  skopeo --insecure-policy copy -q "oci:$T/$kind:v1" "oci:$T/$kind.copy:v1" || fail "skopeo does not take $kind"
done
[ "$(manifest gzip)" = "$(manifest img)" ] || fail "layers that are gzip already were not copied as they are"
[ "$(manifest zstd | jq -c '[.layers[].mediaType] | unique')" = '["application/vnd.oci.image.layer.v1.tar+zstd"]' ]
for hex in $(manifest zstd | jq -r .layers[].digest | cut -d: -f2); do zstd -tq "$T/zstd/blobs/sha256/$hex"; done
[ "$(manifest zstd | jq .config)" = "$(manifest img | jq .config)" ] || fail "the configuration changed"
unpacked img >"$T/want"
unpacked none | cmp -s - "$T/want" || fail "umoci unpacks something else from plain layers"

# What skopeo compressed, and back: plain layers are the same bytes again.
skopeo --insecure-policy copy -q --dest-compress --dest-compress-format zstd "oci:$T/none:v1" "oci:$T/theirs:v1"
convert --compress none "oci:$T/theirs:v1" "oci:$T/back:v1"
[ "$(manifest back)" = "$(manifest none)" ] || fail "not the image that was recompressed"

convert --squash "oci:$T/img:v1" "oci:$T/squash:v1"
[ "$(manifest squash | jq '.layers | length')" = 1 ] || fail "more than one layer"
unpacked squash | cmp -s - "$T/want" || fail "umoci unpacks something else from one layer: $(diff "$T/want" <(unpacked squash))"

convert --format docker "oci:$T/img:v1" "oci:$T/docker:v1"
convert --format oci "oci:$T/docker:v1" "oci:$T/again:v1"
[ "$(manifest again | jq '[.config.digest, .layers[].digest]')" = "$(manifest img | jq '[.config.digest, .layers[].digest]')" ]
expect_exit 7 gantry-convert --insecure-options=image --preserve-digests --compress zstd "oci:$T/img:v1" "oci:$T/no:v1"
[ ! -e "$T/no" ] || fail "something was left"
