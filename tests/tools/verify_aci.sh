# An App Container Image is judged by FILE.asc and the keys that are trusted for its name: by gantry verify, convert and
# run; gpg makes what gantry verifies, and verifies what gantry makes.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg jq

make_gpg_key release
make_busybox_image "$T/img" v1
for name in app apple; do
  gantry convert -q --insecure-options=image "oci:$T/img:v1" "aci:$T/$name.aci" --name "example.com/$name" >/dev/null 2>&1
done
verify() { expect_exit "$1" gantry verify --explain "aci:$T/$2.aci"; }

verify 4 app
expect_text '^refused \(rejected\)' "$T/out"
expect_exit 0 gantry trust add --yes --prefix example.com/app "$T/release.pub.gpg"
verify 4 app
expect_text '^refused \(no-signature\)' "$T/out"
expect_text "looked in $T/app.aci.asc" "$T/out"
gpg -q --batch --armor --detach-sign "$T/app.aci"
verify 0 app
expect_text '^scope     appc: example.com/app$' "$T/out"
expect_text "^allowed: appcSigned $fingerprint\$|key $fingerprint signed it as 'example.com/app'" "$T/out"
rm "$T/app.aci.asc" && gpg -q --batch --detach-sign --output "$T/app.aci.asc" "$T/app.aci"
verify 0 app
rm "$T/app.aci.asc" && expect_exit 0 gantry sign -q --key "$fingerprint" "aci:$T/app.aci"
expect_exit 0 gpg -q --batch --verify "$T/app.aci.asc" "$T/app.aci"
verify 0 app
# On the boundary of components, where rkt compares strings.
expect_exit 0 gantry sign -q --key "$fingerprint" "aci:$T/apple.aci"
verify 4 apple
expect_text '^refused \(rejected\)' "$T/out"

expect_exit 0 gantry convert -q "aci:$T/app.aci" "oci:$T/back:v1"
expect_exit 0 gantry convert -q "aci:$T/app.aci" store:example.com/app:v1
expect_exit 4 gantry convert -q "aci:$T/apple.aci" "oci:$T/back:v2"
if unshare -r true 2>/dev/null || [ "$(id -u)" = 0 ]; then
  expect_exit 0 gantry run "aci:$T/app.aci"
  expect_text '^hello from gantry$' "$T/out"
  expect_exit 125 gantry run "aci:$T/apple.aci"
fi

# The bytes are signed, not what is in them: compressed anew, it is another file.
gzip -dc "$T/app.aci" >"$T/plain.aci"
cp "$T/app.aci.asc" "$T/plain.aci.asc"
verify 4 plain
expect_text '^refused \(bad-signature\)' "$T/out"
printf x >>"$T/app.aci"
[ "$(gantry verify --json "aci:$T/app.aci" 2>&1 | jq -r .code 2>/dev/null || echo corrupt)" != signed ] || fail "a longer file"
# In a policy, by place.
printf '{"default":[{"type":"reject"}],"transports":{"aci":{"%s":[{"type":"appcSigned","keyPath":"%s"}]}}}' \
  "$T" "$T/release.pub.gpg" >"$policy"
verify 0 apple
expect_exit 0 gantry verify --dry-run --policy "$policy"
