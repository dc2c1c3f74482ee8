#!/bin/bash
# An image goes into a layout that skopeo and umoci read; a Docker image becomes an OCI one over the same layers.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci

make_busybox_image "$T/img" v1
convert() { gantry-convert -q --insecure-options=image "$@" 2>"$T/err" || fail "$(cat "$T/err")"; }
convert "oci:$T/img:v1" "oci:$T/copy:v1" >/dev/null
convert "oci:$T/img" "oci:$T/copy:v2" >/dev/null
[ "$(umoci ls --layout "$T/copy" | sort | tr '\n' ' ')" = "v1 v2 " ] || fail "umoci does not see both names"
digest() { skopeo inspect --raw "$1" | sha256sum; }
[ "$(digest "oci:$T/img:v1")" = "$(digest "oci:$T/copy:v1")" ] || fail "the manifest changed"

skopeo --insecure-policy copy -q --format v2s2 "oci:$T/img:v1" "dir:$T/docker"
# A layout that holds a Docker manifest, as containerd exports them.
mkdir -p "$T/dl"
for file in "$T"/docker/*; do
  case $file in */version | */manifest.json) ;; *) cp "$file" "$T/blob" && put_blob "$T/dl" "$T/blob" >/dev/null ;; esac
done
size=$(stat -c%s "$T/docker/manifest.json")
cp "$T/docker/manifest.json" "$T/blob"
type=application/vnd.docker.distribution.manifest.v2+json
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%s}]}' "$type" \
  "$(put_blob "$T/dl" "$T/blob")" "$size" >"$T/dl/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$T/dl/oci-layout"
convert "oci:$T/dl" "oci:$T/fromdocker:v1" >/dev/null
skopeo inspect --raw "oci:$T/fromdocker:v1" >"$T/manifest"
! grep -q docker "$T/manifest" || fail "Docker types are left: $(cat "$T/manifest")"
umoci unpack --image "$T/fromdocker:v1" "$T/bundle" >/dev/null 2>&1 || fail "umoci cannot unpack it"
[ "$(cat "$T/bundle/rootfs/opt/second")" = 'two names, one file' ] || fail "wrong content"
