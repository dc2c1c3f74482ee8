# sigstore's own JavaScript (@sigstore/bundle, @sigstore/verify) accepts the bundles and identity attestations that gantry
# makes with every kind of key that it knows, and refuses what gantry refuses: a changed payload, another key.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

modules=$GANTRY_BUILD_DIR/npm
status=0
problem=$(bash "$GANTRY_SOURCE_DIR/tests/support/install_sigstore_js.sh" "$modules") || status=$?
[ "$status" != 77 ] || skip "$problem"
[ "$status" = 0 ] || fail "the packages of npm: $problem"
accepts() { NODE_PATH=$modules/node_modules expect_exit "$1" node "$GANTRY_SOURCE_DIR/tests/support/verify_bundle.cjs" "$2" "$3"; }

export COSIGN_PASSWORD=
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
gantry keygen -q --output "$T/other" >/dev/null
for kind in ecdsa-p256 ecdsa-p384 rsa ed25519; do
  gantry keygen -q --kind "$kind" --output "$T/$kind" >/dev/null
  for form in bundle identity; do
    signature=$(gantry sign --form "$form" --key "$T/$kind.key" --as quay.io/org/app:v1 "oci:$T/layout:v1")
    tail -c +16 "$signature" | jq -r .payload | base64 -d >"$T/bundle"
    accepts 0 "$T/bundle" "$T/$kind.pub"
    [ "$form" = identity ] || expect_text '^https://sigstore.dev/cosign/sign/v1$' "$T/out"
  done
done
accepts 1 "$T/bundle" "$T/other.pub"
jq -c '.dsseEnvelope.payload |= (@base64d | sub("app:v1"; "app:v2") | @base64)' "$T/bundle" >"$T/changed"
accepts 1 "$T/changed" "$T/ed25519.pub"
jq -c '.verificationMaterial.publicKey.hint = "x"' "$T/bundle" >"$T/changed"
accepts 1 "$T/changed" "$T/ed25519.pub"
