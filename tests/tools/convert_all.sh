#!/bin/bash
# An index goes over whole, or for some platforms; each of its images is asked about; and skopeo agrees on the digests.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
digest=$(make_index "$T/img" all amd64 arm64 s390x)
expect_exit 4 gantry-convert --all "oci:$T/img" "oci:$T/copy"
convert() { gantry-convert -q --insecure-options=image "$@" 2>"$T/err" || fail "$* failed: $(cat "$T/err")"; }
[ "$(convert --all "oci:$T/img" "oci:$T/copy")" = "$digest  oci:$T/copy:all" ] || fail "another digest, or no name"
convert --all --preserve-digests "oci:$T/img:all" "oci-archive:$T/o.tar:x" >/dev/null
skopeo --insecure-policy copy -q --all "oci-archive:$T/o.tar:x" "dir:$T/dir" || fail "skopeo cannot read it"
[ "sha256:$(sha256sum <"$T/dir/manifest.json" | cut -d' ' -f1)" = "$digest" ] || fail "skopeo sees another index"
convert --all --format docker "oci-archive:$T/o.tar" "oci:$T/docker:list" >/dev/null
gantry-inspect --index --raw "oci:$T/docker:list" | jq -e '.mediaType | endswith("manifest.list.v2+json")' >/dev/null || fail list
convert --all "oci:$T/docker" "oci:$T/back:x" >/dev/null
convert --all --format docker "oci:$T/back" "oci:$T/docker:again" >/dev/null
cmp <(gantry-inspect --index --raw "oci:$T/docker:list") <(gantry-inspect --index --raw "oci:$T/docker:again") || fail "there and back"

convert --platform linux/arm64,linux/s390x "oci:$T/img:all" "oci:$T/some:x" >/dev/null
gantry-inspect --index --json "oci:$T/some:x" | jq -e '[.manifests[].platform] == ["linux/arm64","linux/s390x"]' >/dev/null || fail
gantry-inspect --index --raw "oci:$T/img:all" | sha256sum | grep -q "${digest#*:}" || fail "--raw is not the index"
convert --all --compress zstd "oci:$T/img:all" "oci:$T/zstd" >/dev/null
refuse() { expect_exit "$@" && [ ! -e "$T/x" ] || fail "left something"; }
refuse 7 gantry-convert --insecure-options=image --preserve-digests --platform linux/arm64,linux/s390x "oci:$T/img" "oci:$T/x"
refuse 3 gantry-convert --insecure-options=image --platform linux/arm64,linux/386 "oci:$T/img" "oci:$T/x"
refuse 7 gantry-convert --insecure-options=image --all "oci:$T/img" "docker-archive:$T/x"
refuse 7 gantry-convert --insecure-options=image --all "oci:$T/img" "aci:$T/x"

# Several images of one archive keep their names.
skopeo --insecure-policy copy -q --additional-tag example.com/a:2 "oci-archive:$T/o.tar:x" "docker-archive:$T/d.tar:example.com/a:1"
convert --all "docker-archive:$T/d.tar" "oci:$T/several" >/dev/null
convert --all "oci:$T/several" "docker-archive:$T/e.tar" >/dev/null
skopeo list-tags "docker-archive:$T/e.tar" | jq -e '.Tags == ["example.com/a:1","example.com/a:2"]' >/dev/null || fail names
expect_exit 2 gantry-convert --insecure-options=image --all "oci:$T/several" "oci:$T/x:one"
