# An identity attestation holds for the same image in other forms, and for no other image; neither does a signature by another
# key, nor the attestation where the policy asks for a signature.
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

# Each form in turn gets the attestation of the first, as the conversion of a signed image would carry it.
convert() { gantry convert -q --insecure-options=image "$@" >/dev/null 2>&1; }
with_evidence() {
  local digest
  digest=$(skopeo inspect --raw "oci:$1" | sha256sum | cut -d' ' -f1)
  mkdir -p "${1%:*}/signatures/sha256-$digest"
  cp "$T"/layout/signatures/*/signature-1 "${1%:*}/signatures/sha256-$digest/"
}
verifies() { expect_exit "$1" gantry verify --as "$name" "oci:$2"; }
convert --compress zstd "oci:$T/layout:v1" "oci:$T/zstd:v1"
convert --squash "oci:$T/zstd:v1" "oci:$T/squashed:v1"
for form in zstd squashed; do
  with_evidence "$T/$form:v1"
  verifies 0 "$T/$form:v1"
  expect_exit 4 gantry verify --as quay.io/org/app:v2 "oci:$T/$form:v1"
done
echo changed >"$T/more/file"
make_image "$T/changed" v1 '{"Cmd":["/hello"]}' "$T/root" "$T/more"
make_image "$T/command" v1 '{"Cmd":["/other"]}' "$T/root"
for form in changed command; do
  with_evidence "$T/$form:v1"
  verifies 4 "$T/$form:v1"
  expect_text 'another image' "$T/err"
done
sed -i 's/identitySigned/sigstoreSigned/' "$policy"
verifies 4 "$T/layout:v1"
