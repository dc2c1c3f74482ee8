# An identity attestation holds for the same image in every form, goes along with conversions, and holds for no other image;
# neither does another tag, nor the attestation where the policy asks for a signature.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=
gantry keygen -q --output "$T/release" >/dev/null
mkdir "$T/root" "$T/more" && echo hello >"$T/root/hello" && echo more >"$T/more/file"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root" "$T/more"
name=quay.io/org/app:v1
requirement='{"type":"identitySigned","keyPath":"'$T'/release.pub"}'
printf '{"default":[%s],"transports":{"docker":{"quay.io":[%s]}}}' '{"type":"reject"}' "$requirement" >"$policy"
expect_exit 0 gantry sign --identity --key "$T/release.key" --as "$name" "oci:$T/layout:v1"
expect_exit 0 gantry verify --as "$name" "oci:$T/layout:v1"
attestation=$(echo "$T"/layout/signatures/*/signature-1)

# Layouts, the store and ACIs get the attestation with the image; archives find it in the lookaside.
convert() { expect_exit 0 gantry convert -q --insecure-options=image "$@"; }
verifies() { expect_exit "$1" gantry verify --as "$name" "$2"; }
in_lookaside() {
  local digest
  digest=$(gantry verify --json --as "$name" "$1" | jq -r .digest) || :
  mkdir -p "$T/sigstore/org/app@${digest/:/=}"
  cp "$attestation" "$T/sigstore/org/app@${digest/:/=}/signature-1"
}
convert --compress zstd "oci:$T/layout:v1" "oci:$T/zstd:v1"
convert --squash "oci:$T/zstd:v1" "oci:$T/squashed:v1"
convert "oci:$T/squashed:v1" store:app
convert "oci:$T/layout:v1" "aci:$T/app.aci"
convert "aci:$T/app.aci" "oci:$T/back:v1"
convert --squash "oci:$T/layout:v1" "docker-archive:$T/squashed.tar:$name"
convert "oci:$T/zstd:v1" "docker-archive:$T/docker.tar:$name"
convert "docker-archive:$T/docker.tar" "oci-archive:$T/oci.tar:v1"
for archive in docker-archive:"$T/squashed.tar" docker-archive:"$T/docker.tar" oci-archive:"$T/oci.tar:v1"; do
  verifies 4 "$archive"
  in_lookaside "$archive"
done
for form in "oci:$T/zstd:v1" "oci:$T/squashed:v1" store:app "aci:$T/app.aci" "oci:$T/back:v1" "docker-archive:$T/squashed.tar" "docker-archive:$T/docker.tar" \
  "oci-archive:$T/oci.tar:v1"; do
  verifies 0 "$form"
  expect_exit 4 gantry verify --as quay.io/org/app:v2 "$form"
done
echo changed >"$T/more/file"
make_image "$T/changed" v1 '{"Cmd":["/hello"]}' "$T/root" "$T/more"
make_image "$T/command" v1 '{"Cmd":["/other"]}' "$T/root"
for form in changed command; do
  in_lookaside "oci:$T/$form:v1"
  verifies 4 "oci:$T/$form:v1"
  expect_text 'another image' "$T/err"
done
sed -i 's/identitySigned/sigstoreSigned/' "$policy"
verifies 4 "oci:$T/layout:v1"
