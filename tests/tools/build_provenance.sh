# --provenance with --sign: an in-toto statement that openssl verifies by the encoding of DSSE, that gantry-verify knows
# as what the key attests, and that lies with the image; with an OpenPGP key, a signature that gpg verifies.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq openssl
mkdir -p "$T/app" && cd "$T/app"
echo text >file
printf 'FROM scratch\nCOPY file /\nCMD ["/file"]\n' >Containerfile
export COSIGN_PASSWORD=
gantry keygen -q --output key >/dev/null
gantry build -q . oci:made:v1 --sign key.key --as docker://example.com/made:v1 --provenance statement.json >out
digest=$(grep -om1 'sha256:[0-9a-f]*' out)
jq -e --arg hex "${digest#sha256:}" '._type == "https://in-toto.io/Statement/v1" and .predicateType == "https://slsa.dev/provenance/v1"
  and .subject[0].digest.sha256 == $hex and (.predicate.buildDefinition.resolvedDependencies[0].digest.sha256 | length == 64)
  and .predicate.buildDefinition.externalParameters.steps[0] == "COPY file /"' statement.json >/dev/null || fail "$(cat statement.json)"


# The bundle lies with the image, as cosign's do; DSSE says what is signed: "DSSEv1", and type and payload with lengths.
tail -n +2 "$(tail -n 1 out)" | jq -r .payload | base64 -d >bundle.json
jq -r .dsseEnvelope.payload bundle.json | base64 -d >payload
cmp payload statement.json || fail "another statement was signed"
printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(stat -c %s payload)" | cat - payload >signed
jq -r '.dsseEnvelope.signatures[0].sig' bundle.json | base64 -d >signature
openssl dgst -sha256 -verify key.pub -signature signature signed >/dev/null || fail "openssl does not verify it"

# gantry-verify checks it too: a good signature that attests something else than the image's name, and harms nothing.
printf '{"default":[{"type":"sigstoreSigned","keyPath":"%s","signedIdentity":{"type":"exactReference","dockerReference":"example.com/made:v1"}}]}\n' \
  "$PWD/key.pub" >"$policy"
expect_exit 0 gantry verify --json --as docker://example.com/made:v1 oci:made:v1
jq -e '[.. | .code? // empty] | index("other-predicate") and index("signed")' "$T/out" >/dev/null || fail "$(cat "$T/out")"
sed 's/"sha256":"[0-9a-f]*"/"sha256":"00"/' statement.json >other.json
expect_exit 2 gantry sign --key key.key --statement other.json oci:made:v1
expect_text 'is about another image' "$T/err"

# Nor is a signature of anything else to be had for a statement.
jq -c '.subject += [{name: "x", digest: {sha256: ("0" * 64)}}]' statement.json >more.json
expect_exit 2 gantry sign --key key.key --statement more.json oci:made:v1
for type in https://sigstore.dev/cosign/sign/v1 urn:gantry:identity:1; do
  jq -c --arg type "$type" '.predicateType = $type' statement.json >signature.json
  expect_exit 2 gantry sign --key key.key --statement signature.json oci:made:v1
  expect_text 'is a signature by its type' "$T/err"
done

# An ACI and its statement, by an OpenPGP key.
make_gpg_key builder
accept_anything
gantry build begin && gantry build set-name example.com/made && gantry build copy file /file && gantry build set-exec -- /file
gantry build write made.aci --sign "$fingerprint" --provenance aci.json >/dev/null
gantry build end
for file in made.aci aci.json; do
  gpg -q --verify "$file.asc" "$file" 2>"$T/err" || fail "gpg does not verify $file: $(cat "$T/err")"
done
