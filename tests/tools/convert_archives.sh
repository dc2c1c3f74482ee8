#!/bin/bash
# Archives that we write are the same image to skopeo, podman, buildah and umoci, and to gantry through every pair of
# formats; the same bytes on every run; a file that is there is not replaced unasked.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci jq
make_busybox_image "$T/img" v1
identity=$(gantry-inspect -q --identity "oci:$T/img:v1")
convert() { gantry-convert -q --insecure-options=image "$@" >/dev/null 2>"$T/err" || fail "$* failed: $(cat "$T/err")"; }
convert "oci:$T/img:v1" "oci-archive:$T/o.tar:v1"
convert --threads 1 "oci:$T/img:v1" "docker-archive:$T/d.tar:example.com/web"
convert --threads 5 "oci:$T/img:v1" "docker-archive:$T/again.tar:example.com/web:latest"
cmp "$T/d.tar" "$T/again.tar" || fail "other bytes on another run"

skopeo inspect --raw "oci-archive:$T/o.tar:v1" | cmp - <(skopeo inspect --raw "oci:$T/img:v1") || fail "the manifest changed"
for from in "oci-archive:$T/o.tar:v1" "docker-archive:$T/d.tar:example.com/web:latest"; do
  skopeo --insecure-policy copy -q "$from" "oci:$T/s-${from%%:*}:v1" || fail "skopeo cannot read $from"
  [ "$(gantry-inspect -q --identity "oci:$T/s-${from%%:*}:v1")" = "$identity" ] || fail "skopeo reads another image in $from"
done
umoci unpack --image "$T/s-docker-archive:v1" "$T/bundle" >/dev/null 2>&1 || fail "umoci cannot unpack what skopeo read"
[ "$(cat "$T/bundle/rootfs/opt/second")" = 'two names, one file' ] || fail "wrong content"
skopeo list-tags "docker-archive:$T/d.tar" | jq -e '.Tags == ["example.com/web:latest"]' >/dev/null || fail "other names"
tar xOf "$T/d.tar" repositories | jq -e '."example.com/web".latest | length == 64' >/dev/null || fail "no repositories"

expect_exit 1 gantry-convert --insecure-options=image "oci:$T/img:v1" "oci-archive:$T/o.tar"
expect_text overwrite "$T/err"
expect_exit 7 gantry-convert --insecure-options=image --preserve-digests "oci:$T/img:v1" "docker-archive:$T/x.tar"
expect_exit 2 gantry-convert --insecure-options=image "oci:$T/img:v1" "docker-archive:$T/x.tar:@1"
[ ! -e "$T/x.tar" ] || fail "left a file"

for from in "oci:$T/img:v1" "oci-archive:$T/o.tar" "docker-archive:$T/d.tar" store:web; do
  for to in "oci:$T/x:v1" "oci-archive:$T/x.tar:v1" "docker-archive:$T/x.tar" store:web; do
    convert --overwrite "$from" "$to"
    [ "$(gantry-inspect -q --identity "$to")" = "$identity" ] || fail "$from makes another image as $to"
  done
done
