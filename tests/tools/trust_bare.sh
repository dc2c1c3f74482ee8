# gantry trust add takes bare keys, for what they sign or for the identities that they attest; the policy that comes out
# decides, a second key is added beside the first, and the wrong fingerprint is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=
for n in one two; do gantry keygen -q --output "$T/$n" >"$T/$n.fpr"; done
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
trust() { expect_exit "$1" gantry trust add -q --yes --policy "$T/policy.json" "${@:2}"; }
verify() { expect_exit "$1" gantry verify --policy "$T/policy.json" --as "$2" "oci:$T/layout:v1"; }

trust 4 --key "$T/one.pub" --fingerprint "$(sed 's/^sha256:\([0-9a-f]*\).*/\1/' "$T/two.fpr")" docker://quay.io/org/app
trust 0 --key "$T/one.pub" --fingerprint "$(sed 's/^sha256:\([0-9a-f]*\).*/\1/' "$T/one.fpr")" docker://quay.io/org/app
trust 0 --key "$T/two.pub" docker://quay.io/org/app
trust 2 --key "$T/two.pub" --identity docker://quay.io/org/app
trust 0 --key "$T/two.pub" --identity docker://quay.io/org/other
[ "$(jq -r '.transports.docker["quay.io/org/app"][0] | .type, (.keyPaths | length)' "$T/policy.json" | xargs)" = 'sigstoreSigned 2' ] ||
  fail "$(cat "$T/policy.json")"
expect_exit 0 gantry trust list --policy "$T/policy.json"
expect_text "$(cut -d' ' -f1 "$T/two.fpr") ecdsa-p256" "$T/out"
expect_exit 0 gantry trust lint --policy "$T/policy.json"

verify 4 quay.io/org/app:v1
expect_exit 0 gantry sign --key "$T/two.key" --as quay.io/org/app:v1 "oci:$T/layout:v1"
verify 0 quay.io/org/app:v1
expect_exit 0 gantry sign --key "$T/two.key" --as quay.io/org/other:v1 "oci:$T/layout:v1"
verify 4 quay.io/org/other:v1
expect_exit 0 gantry sign --identity --key "$T/two.key" --as quay.io/org/other:v1 "oci:$T/layout:v1"
verify 0 quay.io/org/other:v1
