#!/bin/bash
# What a pass over the layers found is kept in the store: rendering learns the identity, so do inspect, a conversion and a
# policy that asks; nobody reads the layers for it again, conversions within the store hand it on, and a wrong one is found.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq

export COSIGN_PASSWORD=
gantry-keygen -q --output "$T/key" >/dev/null
make_busybox_image "$T/img" v1
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$policy"
want=$(gantry-inspect -q --identity "oci:$T/img:v1")
rootfs=$(gantry-inspect -q --identity --json "oci:$T/img:v1" | jq -r .document.rootfs)
in_store() { gantry-convert -q --overwrite "$@" >/dev/null 2>"$T/err" || fail "$*: $(cat "$T/err")"; }
kept() { cat "$GANTRY_ROOT/identities/sha256-$(gantry-inspect --json "$1" | jq -r .digest | cut -d: -f2)" 2>/dev/null; }
known() { [ "$(kept "$1")" = "identity/1 $rootfs" ] || fail "$1: '$(kept "$1")' is kept"; }
forget() { rm -f "$GANTRY_ROOT"/identities/*; }

in_store "oci:$T/img:v1" store:app
[ -z "$(kept app)" ] || fail 'a copy alone cannot know'
if [ "$(id -u)" = 0 ]; then
  gantry-run -q app true
  [ -z "$(kept app)" ] || fail 'nobody asked for it'
  gantry-convert -q --squash store:app store:other >/dev/null
  asks='{"type":"identitySigned","keyPath":"'"$T"'/key.pub"}'
  printf '{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"quay.io":[%s]}}}' "$asks" >"$T/asks"
  gantry-run -q --policy "$T/asks" other true
  known other
  forget
fi
[ "$(gantry-inspect -q --identity app)" = "$want" ] || fail 'inspect finds another'
known app

# Nobody reads the layers again: they are damaged, and it does not matter.
layer=$GANTRY_ROOT/blobs/sha256/$(gantry-inspect --raw app | jq -r .layers[0].digest | cut -d: -f2)
cp "$layer" "$T/layer"
spoil "$layer" 200
[ "$(gantry-inspect -q --identity app)" = "$want" ] || fail 'the layers were read'
cp "$T/layer" "$layer"

# It goes along, and a conversion of all layers into one tells it to the store.
in_store store:app store:zstd --compress zstd
known zstd
in_store store:app store:one --squash
known one
forget
[ "$(gantry-convert -q --json store:app "aci:$T/app.aci" | jq -r .identity)" = "$want" ] || fail 'the ACI tells another'
known app
[ "$(gantry-convert -q --json store:app "oci:$T/copy:v1" | jq -r .identity)" = "$want" ] || fail 'a copy could tell'

# The policy asks.
in_store store:app store:quay.io/org/app:v1
forget
gantry-sign --identity --key "$T/key.key" quay.io/org/app:v1 >/dev/null
known quay.io/org/app:v1
in_store quay.io/org/app:v1 store:quay.io/org/app:v1 --compress zstd # it no longer has the digest that was signed
forget
printf '{"default":[{"type":"identitySigned","keyPath":"%s"}]}' "$T/key.pub" >"$policy"
expect_exit 0 gantry-convert -q quay.io/org/app:v1 "oci:$T/allowed:v1"
known quay.io/org/app:v1

# A fetch looks into layers where it is asked, and keeps what it found; it does not otherwise.
start_registry
gantry-sign --identity --key "$T/key.key" --as "docker://$registry/app:v1" "oci:$T/img:v1" >/dev/null
gantry-convert -q --insecure-options=image --compress zstd "oci:$T/img:v1" "oci:$T/signed:v1" >/dev/null 2>&1
gantry-push -q --insecure-options=image "oci:$T/signed:v1" "docker://$registry/app:v1" >/dev/null 2>&1
digest=$(gantry-inspect --json "oci:$T/signed:v1" | jq -r .digest)
mkdir -p "$T/sigstore/app@${digest/:/=}"
cp "$T"/signed/signatures/*/signature-1 "$T/sigstore/app@${digest/:/=}"
gantry-store rm --all >/dev/null
gantry-store gc >/dev/null
expect_exit 0 gantry-fetch -q --insecure-options=image "docker://$registry/app:v1"
[ ! -e "$GANTRY_ROOT/identities/${digest/:/-}" ] || fail 'a fetch looked into the layers unasked'
expect_exit 0 gantry-fetch -q "docker://$registry/app:v1"
known "$registry/app:v1"

expect_exit 0 gantry-store check
sed -i "s/sha256:.*/sha256:$(printf '0%.0s' {1..64})/" "$GANTRY_ROOT"/identities/*
expect_exit 5 gantry-store check
expect_text 'identities/sha256-.*: says sha256:00.*amount to' "$T/out"
gantry-store rm --all >/dev/null
gantry-store gc --json | jq -e '.identities >= 1' >/dev/null || fail 'gc kept it'
[ -z "$(ls "$GANTRY_ROOT/identities")" ] || fail 'something is left'
