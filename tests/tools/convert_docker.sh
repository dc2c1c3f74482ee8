#!/bin/bash
# docker:// straight to an ACI and to a layout: fetched into the store by a child, judged, converted; the ACI is named as
# docker2aci names it, and a bare name that is in the store needs no registry any more.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo
start_registry
make_busybox_image "$T/img" v1
push "$T/img:v1" org/web:v1

expect_exit 4 gantry-convert "docker://$registry/org/web:v1" "aci:$T/web.aci"
[ ! -e "$T/web.aci" ] || fail "a refused image was converted"
expect_exit 3 gantry-convert --insecure-options=image "docker://$registry/org/absent:v1" "aci:$T/web.aci"

expect_exit 0 gantry-convert --insecure-options=image "docker://$registry/org/web:v1" "aci:$T/web.aci"
expect_text "^sha512-[0-9a-f]{128}  $T/web.aci\$" "$T/out"
tar xzOf "$T/web.aci" manifest >"$T/manifest"
expect_text "\"name\":\"127.0.0.1_${registry#*:}/org/web\"" "$T/manifest"
expect_text '"name":"version","value":"v1"' "$T/manifest"
expect_text "\"appc.io/docker/registryurl\",\"value\":\"$registry\"" "$T/manifest"

kill "${started_pids[-1]}"
wait "${started_pids[-1]}" 2>/dev/null || true
expect_exit 0 gantry-convert --insecure-options=image "$registry/org/web:v1" "aci:$T/again.aci"
cmp "$T/web.aci" "$T/again.aci" || fail "the stored image makes another ACI"
expect_exit 0 gantry-convert --insecure-options=image "store:$registry/org/web:v1" "oci:$T/copy:v1"
skopeo inspect --raw "oci:$T/copy:v1" | cmp - <(skopeo inspect --raw "oci:$T/img:v1") || fail "the manifest changed"
expect_exit 4 gantry-convert "store:$registry/org/web:v1" "aci:$T/refused.aci"
expect_exit 6 gantry-convert --insecure-options=image "docker://$registry/org/web:v1" "aci:$T/third.aci"
