#!/bin/bash
# What the policy allows gets a name in the store; what it refuses gets none; a name moves only when that is asked for.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
make_busybox_image "$T/img" v1
make_image "$T/small" v1 '{"Cmd":["x"]}' "$T/home"
expect_exit 4 gantry-convert "oci:$T/img:v1" store:web
expect_exit 0 gantry-store list --quiet
[ ! -s "$T/out" ] || fail "a refused image has a name"
convert() { gantry-convert -q --insecure-options=image "$@"; }
digest=$(gantry-inspect --raw "oci:$T/img:v1" | sha256sum | cut -d' ' -f1)
[ "$(convert "oci:$T/img:v1" store:web)" = "sha256:$digest  store:web" ] || fail "another digest"
[ "$(gantry-store list --quiet)" = docker.io/library/web:latest ] || fail "$(gantry-store list)"
expect_exit 0 convert "oci:$T/img:v1" store:web:latest
expect_exit 1 convert "oci:$T/small:v1" store:web
expect_text overwrite "$T/err"
expect_exit 0 convert --overwrite "oci:$T/small:v1" store:web
expect_exit 0 convert --compress zstd "oci:$T/img:v1" store:example.com/zstd:1
expect_exit 0 gantry-store check
expect_exit 4 gantry-convert store:web "oci:$T/out-of-store"
expect_exit 2 convert "oci:$T/img:v1" "store:$digest"
expect_exit 7 convert "oci:$T/img:v1" web
[ "$(gantry-inspect -q --identity store:example.com/zstd:1)" = "$(gantry-inspect -q --identity "oci:$T/img:v1")" ] || fail
