# gantry trust list shows who can vouch, whatever it is: keys, certificate authorities with whom they must have named, logs,
# statements of the Notary Project, parts of a threshold; what cannot be read is said, and all of it is JSON, too.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need openssl jq gpg

make_gpg_key tester
COSIGN_PASSWORD='' gantry keygen -q --output "$T/bare" >/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/ca.key" -out "$T/ca.pem" -days 30 -subj '/O=Test/CN=a root' 2>/dev/null
mkdir "$T/notation"
printf '{"version":"1.0","trustPolicies":[{"name":"releases","registryScopes":["quay.io/org/app"],"signatureVerification":{"level":"strict"},"trustStores":["ca:x"],"trustedIdentities":["x509.subject: C=DE, ST=BE, O=Org"]}]}' \
  >"$T/notation/trustpolicy.json"
cat >"$policy" <<END
{"default": [{"type": "reject"}], "transports": {"docker": {
  "a.example": [{"type": "sigstoreSigned", "fulcio": {"caPath": "$T/ca.pem", "oidcIssuer": "https://issuer.example",
    "subjectEmail": "release@org.example"}, "rekorPublicKeyPath": "$T/bare.pub"}],
  "b.example": [{"type": "sigstoreSigned", "pki": {"caRootsPath": "$T/ca.pem", "subjectHostname": "build.example"}}],
  "c.example": [{"type": "notationSigned", "directory": "$T/notation"}],
  "d.example": [{"type": "threshold", "count": 2, "requirements": [{"type": "sigstoreSigned", "keyPath": "$T/bare.pub",
    "signedIdentity": {"type": "matchRepository"}, "neverOlder": true},
    {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "$T/tester.pub.gpg"}]}],
  "e.example": [{"type": "sigstoreSigned", "keyPath": "$T/gone.pub"}]}}}
END
expect_exit 0 gantry trust list
for line in 'certificate issued to release@org.example by https://issuer.example' "authority CN=a root,O=Test until .* in $T/ca.pem" \
  "log sha256:[0-9a-f]{64} ecdsa-p256 in $T/bare.pub" 'certificate for build.example' \
  "statement releases quay.io/org/app; C=DE,ST=BE,O=Org in $T/notation" 'signed by 2 different keys' \
  'signed under any tag of the repository' 'never older than what was accepted' "$fingerprint tester <tester@example.com>" \
  "unusable: .*$T/gone.pub"; do
  expect_text "^ +$line" "$T/out"
done
expect_exit 0 gantry trust list --json
[ "$(jq -r '.rules[] | select(.scope == "docker: d.example").requirements[0].requirements[1].vouchers[0].id' "$T/out")" = "$fingerprint" ] ||
  fail "$(cat "$T/out")"
[ "$(jq -r '[.rules[].requirements[].vouchers[]?.kind] | unique | join(" ")' "$T/out")" = 'authority key log statement' ] ||
  fail "$(cat "$T/out")"
