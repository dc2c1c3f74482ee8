#!/bin/bash
# Every platform of an index comes out of a registry when each of its images is allowed, and what one name leads to is
# kept together; --all converts it with the digest that it has there.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
start_registry
digest=$(make_index "$T/img" all amd64 arm64 s390x)
skopeo --insecure-policy copy -q --all --dest-tls-verify=false "oci:$T/img:all" "docker://$registry/org/web:v1"
name=$registry/org/web:v1
make_gpg_key signer
gantry-trust add --key "$T/signer.pub.gpg" "docker://$registry/org/web" >/dev/null
sign() { gantry-sign --key signer@example.com --as "docker://$name" --digest "$1" >/dev/null 2>"$T/err" || fail "$(cat "$T/err")"; }
mapfile -t images < <(gantry-inspect --index --json "oci:$T/img:all" | jq -r '.manifests[].digest')
sign "${images[0]}"
sign "${images[1]}"
expect_exit 4 gantry-fetch --all "docker://$name"
[ -z "$(gantry-store list --quiet)" ] || fail "an index with an image that is refused has a name"
expect_exit 0 gantry-convert --platform linux/amd64,linux/arm64 "docker://$name" "oci:$T/two:x"
sign "${images[2]}"
expect_exit 0 gantry-fetch --all "docker://$name"
[ "$(gantry-store list --quiet)" = "$name" ] || fail "$(gantry-store list)"

expect_exit 0 gantry-convert --all --preserve-digests "docker://$name" "oci-archive:$T/o.tar:x"
expect_text "^$digest  oci-archive:" "$T/out"
expect_exit 0 gantry-store gc
expect_exit 0 gantry-store check
kill "${started_pids[-1]}"
expect_exit 0 gantry-convert --all "store:$name" "oci:$T/copy:all"
gantry-inspect --index --raw "oci:$T/copy:all" | sha256sum | grep -q "${digest#*:}" || fail "another index"
expect_exit 0 gantry-convert "store:$name" "oci:$T/one:x"
gantry-inspect --index --raw "store:$name" | sha256sum | grep -q "${digest#*:}" || fail "inspect shows another index"
