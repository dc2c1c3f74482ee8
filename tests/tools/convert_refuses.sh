#!/bin/bash
# What convert must not do: convert what no policy allows, replace a file unasked, guess a format.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"

make_busybox_image "$T/img" v1
expect_exit 4 gantry-convert "oci:$T/img:v1" "aci:$T/a.aci"
expect_text insecure-options=image "$T/err"
[ ! -e "$T/a.aci" ] || fail "a refused image was converted"

printf '{"default":[{"type":"reject"}],"transports":{"oci":{"%s":[{"type":"insecureAcceptAnything"}]}}}' "$T/img" \
  >"$T/policy.json"
expect_exit 0 gantry-convert --policy "$T/policy.json" "oci:$T/img:v1" "aci:$T/a.aci"
[ ! -s "$T/out" ] && fail "no result line"
before=$(sha256sum "$T/a.aci")
expect_exit 1 gantry-convert --policy "$T/policy.json" "oci:$T/img:v1" "aci:$T/a.aci"
expect_text overwrite "$T/err"
[ "$(sha256sum "$T/a.aci")" = "$before" ] || fail "the file changed"
expect_exit 0 gantry-convert --policy "$T/policy.json" --overwrite "oci:$T/img:v1" "aci:$T/a.aci"

expect_exit 7 gantry-convert --insecure-options=image "oci:$T/img:v1" "appc:example.com/x"
expect_exit 3 gantry-convert --insecure-options=image "oci:$T/img:v2" "aci:$T/b.aci"
expect_text v1 "$T/err"
expect_exit 3 gantry-convert --insecure-options=image store:absent "aci:$T/b.aci"
expect_exit 3 gantry-convert --insecure-options=image --platform linux/s390x "oci:$T/img:v1" "aci:$T/b.aci"
expect_exit 2 gantry-convert --compress xz "oci:$T/img:v1" "aci:$T/b.aci"
expect_exit 7 gantry-convert --insecure-options=image --preserve-digests "oci:$T/img:v1" "aci:$T/b.aci"

# A damaged layer: exit 5, and nothing under the final name.
layer=$(ls -S "$T/img/blobs/sha256" | head -1)
spoil "$T/img/blobs/sha256/$layer" 1000000
expect_exit 5 gantry-convert --insecure-options=image "oci:$T/img:v1" "aci:$T/b.aci"
expect_exit 5 gantry-convert --insecure-options=image "oci:$T/img:v1" "oci:$T/copy:v1"
[ ! -e "$T/b.aci" ] && [ ! -e "$T/copy" ] || fail "a damaged image was converted"
[ -z "$(find "$T" -maxdepth 1 -name '.*' -type d -mindepth 1)" ] || fail "something hidden was left"
