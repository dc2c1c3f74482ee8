#!/bin/bash
# One tar with an OCI layout, as skopeo and podman write it, is read like the directory: plain, compressed and through a
# pipe, under a policy for its path.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo
make_busybox_image "$T/img" v1
skopeo --insecure-policy copy -q "oci:$T/img:v1" "oci-archive:$T/a.tar:v1"
digest=$(skopeo inspect --raw "oci:$T/img:v1" | sha256sum | cut -d' ' -f1)
inspect() { gantry-inspect "$@" >"$T/out" && expect_text "^Digest +sha256:$digest" "$T/out"; }
inspect "oci-archive:$T/a.tar"
for program in gzip zstd xz bzip2; do
  "$program" -c "$T/a.tar" >"$T/packed"
  inspect "oci-archive:$T/packed:v1"
done
gzip -c "$T/a.tar" | gantry-inspect --raw oci-archive:/dev/stdin:v1 | sha256sum | grep -q "$digest" || fail "no pipes"

expect_exit 4 gantry-convert "oci-archive:$T/a.tar" "oci:$T/copy:v1"
allow='{"default":[{"type":"reject"}],"transports":{"oci-archive":{"%s":[{"type":"insecureAcceptAnything"}]}}}'
# shellcheck disable=SC2059
printf "$allow" "$T/other" >"$policy"
expect_exit 4 gantry-verify "oci-archive:$T/a.tar"
# shellcheck disable=SC2059
printf "$allow" "$T" >"$policy"
ln -s "$T/a.tar" "$T/home/link.tar"
expect_exit 0 gantry-verify "oci-archive:$T/home/link.tar"
expect_exit 0 gantry-convert "oci-archive:$T/a.tar" "oci:$T/copy:v1"
diff -r "$T/img/blobs" "$T/copy/blobs" || fail "other blobs than in the layout"
expect_exit 0 gantry-convert "oci-archive:$T/a.tar" "aci:$T/a.aci"
[ -z "$(ls "$TMPDIR")" ] || fail "left in TMPDIR: $(ls "$TMPDIR")"
