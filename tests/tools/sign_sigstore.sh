# Bare keys sign an image in the store and in a layout, in every form; a policy of sigstoreSigned decides; the key comes from
# file, environment and standard input; nothing passes under another name or after a change.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=pass
for n in one two; do gantry keygen -q --output "$T/$n" >/dev/null; done
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
name=quay.io/org/app:v1
gantry store list >/dev/null
skopeo --insecure-policy copy -q "oci:$T/layout:v1" "oci:$GANTRY_ROOT:$name"
both='{"type":"threshold","count":2,"requirements":[{"type":"sigstoreSigned","keyPaths":["'$T'/one.pub","'$T'/two.pub"]}]}'
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"quay.io/org/app":[{"type":"sigstoreSigned","keyPath":"%s"}],
  "quay.io/org/both":[%s]}}}' "$T/one.pub" "$both" >"$policy"

expect_exit 4 gantry verify "$name"
expect_text 'no signature found' "$T/err"
expect_exit 0 gantry sign --key "$T/one.key" --form payload,bundle "$name"
expect_exit 0 gantry verify --json "$name"
[ "$(jq -r '[.code, .steps[].code] | join(" ")' "$T/out")" = 'signed signed signed' ] || fail "not both forms: $(cat "$T/out")"
expect_exit 4 gantry verify --json --as quay.io/org/app:v2 "$name"
[ "$(jq -r .code "$T/out")" = identity-mismatch ] || fail "another tag: $(cat "$T/out")"

# A layout keeps its own, and several keys sign at once.
expect_exit 0 gantry sign --key "$T/two.key" --as quay.io/org/both:v1 "oci:$T/layout:v1"
expect_exit 4 gantry verify --as quay.io/org/both:v1 "oci:$T/layout:v1"
expect_text 'of 2 keys that must sign, 1 did' "$T/err"
expect_exit 0 env ONE="$(cat "$T/one.key")" gantry sign --key env://ONE --key "$T/two.key" --as quay.io/org/both:v1 "oci:$T/layout:v1"
expect_exit 0 gantry verify --explain --as quay.io/org/both:v1 "oci:$T/layout:v1"
expect_text 'pass  signed: sigstoreSigned is met' "$T/out"
expect_exit 0 skopeo --insecure-policy copy -q "oci:$T/layout:v1" "dir:$T/dir"

unset COSIGN_PASSWORD
echo pass | expect_exit 0 gantry sign --key "$T/one.key" --passphrase-file - "$name"
echo wrong | expect_exit 4 gantry sign --key "$T/one.key" "$name"
expect_exit 7 env OPENSSL_ENGINES="$T" OPENSSL_MODULES="$T" gantry sign --key 'pkcs11:object=x' "$name"
expect_text 'pkcs11-provider.*libengine-pkcs11-openssl' "$T/err"
