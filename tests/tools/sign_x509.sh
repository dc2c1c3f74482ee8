# A key with a certificate signs an image in a layout and in the store; the trust policy and the trust store of notation
# decide; another authority is refused, and what is not a chain is not signed with.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need openssl skopeo jq

cd "$T"
# authority NAME: NAME.crt and what it issued, NAME-chain.pem for NAME-leaf.key
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.crt" -days 2 \
    -subj "/C=US/ST=WA/O=$1/CN=root" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1-leaf.key" -subj "/C=US/ST=WA/O=$1/CN=signer" 2>/dev/null |
    openssl x509 -req -CA "$1.crt" -CAkey "$1.key" -days 1 -CAcreateserial 2>/dev/null \
      -extfile <(printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n') |
    cat - "$1.crt" >"$1-chain.pem"
}
authority ours && authority theirs
mkdir -p root notation/trust-store/x509/ca/ours && echo hello >root/hello && cp ours.crt notation/trust-store/x509/ca/ours
printf '{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"strict"},
  "trustStores":["ca:ours"],"trustedIdentities":["x509.subject: C=US,ST=WA,O=ours"]}]}' >notation/trustpolicy.json
printf '{"default":[{"type":"notationSigned","directory":"%s"}]}' "$T/notation" >"$policy"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
name=quay.io/org/app:v1
judge() { expect_exit "$1" gantry verify --json --as "$name" "oci:$T/layout:v1" && [ "$(jq -r .code out)" = "$2" ] || fail "$2: $(cat out)"; }

judge 4 no-signature
expect_exit 0 gantry sign --x509 theirs-leaf.key --chain theirs-chain.pem --as "$name" "oci:$T/layout:v1"
judge 4 untrusted-signer
expect_exit 0 gantry sign --x509 ours-leaf.key --chain ours-chain.pem "oci:$T/layout:v1"
judge 0 signed
gantry store list >/dev/null && skopeo --insecure-policy copy -q "oci:$T/layout:v1" "oci:$GANTRY_ROOT:$name"
expect_exit 0 gantry sign --x509 ours-leaf.key --chain ours-chain.pem "$name"
expect_exit 0 gantry verify "$name"
expect_exit 2 gantry sign --x509 ours-leaf.key "$name"
expect_exit 2 gantry sign --x509 ours-leaf.key --chain theirs-chain.pem "$name"
expect_exit 2 gantry sign "$name"
