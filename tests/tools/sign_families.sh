# One command signs an image in a registry in every family: OpenPGP, payload and bundle of a bare key, identity, and the
# Notary Project's envelope; a policy that asks for all of them is met, and not when one of them is missing.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo gpg jq openssl

cd "$T"
export COSIGN_PASSWORD=
gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key all@gantry.example rsa2048 sign never
gpg --export all@gantry.example >key.gpg
for n in one two; do gantry keygen -q --output "$n" >/dev/null; done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.crt -days 2 \
  -subj /C=US/ST=WA/O=own/CN=signer -addext keyUsage=critical,digitalSignature -addext basicConstraints=CA:FALSE 2>/dev/null
mkdir -p root notation/trust-store/x509/ca/own && echo hello >root/hello && cp own.crt notation/trust-store/x509/ca/own
printf '{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"strict"},
  "trustStores":["ca:own"],"trustedIdentities":["*"]}]}' >notation/trustpolicy.json
make_image layout v1 '{"Cmd":["/hello"]}' root
start_registry
push layout:v1 app:v1
app=docker://$registry/app:v1
by_key='{"type":"%s","keyPath":"'$T'/%s.pub"}'
# shellcheck disable=SC2059 # the format is the requirement
all=$(printf "$by_key,$by_key,$by_key" sigstoreSigned one sigstoreSigned two identitySigned one)
all+=',{"type":"signedBy","keyType":"GPGKeys","keyPath":"'$T'/key.gpg"},{"type":"notationSigned","directory":"'$T'/notation"}'
printf '{"default":[%s]}' "$all" >"$policy"

expect_exit 4 gantry verify "$app"
expect_exit 0 gantry sign --key all@gantry.example --key one.key --key two.key --form payload,bundle --identity \
  --x509 own.key --chain own.crt "$app"
[ "$(wc -l <out)" = 8 ] || fail "not eight signatures: $(cat out)"
expect_exit 0 gantry verify --explain "$app"
expect_text '^allowed: ' out
expect_exit 0 gantry fetch "$app"
expect_exit 0 gantry verify "$registry/app:v1"

# Each of them counts.
gantry keygen -q --output other >/dev/null
for change in s/one.pub/other.pub/ s/two.pub/other.pub/ s/ca:own/ca:other/; do
  sed "$change" "$policy" >changed.json
  cp -r notation other-notation && sed -i "$change" other-notation/trustpolicy.json && sed -i s/notation\"/other-notation\"/ changed.json
  expect_exit 4 gantry verify --policy changed.json "$app"
  rm -r other-notation
done
rm -r sigstore
expect_exit 4 gantry verify "$app"
