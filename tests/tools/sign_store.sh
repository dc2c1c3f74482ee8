# An image in the store is signed under the name it has there, the signature lies in the lookaside and in the store, and the
# store's copy alone is enough; a second one is appended.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg skopeo

gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key 'release <r@gantry.example>' ed25519 sign never
gpg --armor --export >"$T/key.asc"
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
name=quay.io/org/app:v1
gantry store list >/dev/null
skopeo --insecure-policy copy -q "oci:$T/layout:v1" "oci:$GANTRY_ROOT:$name"
gantry trust add -q --yes --policy "$T/policy.json" --key "$T/key.asc" "docker://$name"
verify() { gantry verify --policy "$T/policy.json" "$@"; }

expect_exit 4 verify "$name"
expect_text 'gantry sign --key KEY docker://quay.io/org/app:v1' "$T/err"
expect_exit 0 gantry sign --key r@gantry.example --lookaside "$T/out1" "docker://$name"
expect_exit 0 cmp "$(cat "$T/out")" "$GANTRY_ROOT"/signatures/*/signature-1
rm -r "$T/out1"
expect_exit 0 verify "$name"
expect_exit 0 gantry sign --key r@gantry.example --lookaside "$T/out1" --as quay.io/org/app:v2 "$name"
expect_exit 0 verify --as quay.io/org/app:v1 "$name"
[ -e "$(echo "$GANTRY_ROOT"/signatures/*/signature-2)" ] || fail "the second signature is not there"
expect_exit 3 gantry sign --key r@gantry.example quay.io/org/other:v1
expect_text 'gantry fetch docker://quay.io/org/other:v1' "$T/err"
expect_exit 3 gantry sign --key nobody@gantry.example "$name"
expect_exit 2 gantry sign --key r@gantry.example --digest sha256:00
