#!/bin/bash
# Images as other tools make them go into ACIs, one a layer, and come back with the digest of their manifest.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci zstd
convert() { gantry-convert -q --insecure-options=image "$@" >"$T/out" 2>"$T/err" || fail "$(cat "$T/err")"; }
make_busybox_image "$T/tar" v1
skopeo --insecure-policy copy -q --dest-compress --dest-compress-format zstd "oci:$T/tar:v1" "oci:$T/zstd:v1"
skopeo --insecure-policy copy -q --dest-decompress "oci:$T/tar:v1" "oci:$T/plain:v1"
skopeo --insecure-policy copy -q "oci:$T/tar:v1" "docker-archive:$T/saved.tar:hello:v1"
skopeo --insecure-policy copy -q "docker-archive:$T/saved.tar" "oci:$T/saved:v1"
cp -r "$T/tar" "$T/umoci"
umoci unpack --rootless --image "$T/umoci:v1" "$T/bundle" >/dev/null 2>&1
echo more >"$T/bundle/rootfs/etc/more"
rm "$T/bundle/rootfs/opt/first"
umoci repack --image "$T/umoci:v1" "$T/bundle" >/dev/null 2>&1
umoci config --image "$T/umoci:v1" --config.user app --config.stopsignal SIGINT >/dev/null 2>&1
convert --compress gzip "oci:$T/plain:v1" "oci:$T/ours:v1"
convert --format docker "oci:$T/tar:v1" "oci:$T/docker:v1"

for image in tar zstd plain saved umoci ours docker; do
  before=$(gantry-inspect --raw "oci:$T/$image:v1" | sha256sum)
  convert --layers "oci:$T/$image:v1" "aci:$T/$image.acis"
  options=()
  [ "$image" != docker ] || options=(--format docker)
  convert "${options[@]}" --preserve-digests "aci:$T/$image.acis" "oci:$T/$image.back:v1"
  [ "$(gantry-inspect --raw "oci:$T/$image.back:v1" | sha256sum)" = "$before" ] || fail "$image: another manifest"
  diff <(gantry-inspect --config "oci:$T/$image:v1") <(gantry-inspect --config "oci:$T/$image.back:v1") ||
    fail "$image: another configuration"
  convert "aci:$T/$image.acis" "aci:$T/$image.aci"
  [ "$(gantry-inspect -q --identity "aci:$T/$image.aci")" = "$(gantry-inspect -q --identity "oci:$T/$image:v1")" ] ||
    fail "$image: another identity"
done
