# An image that nobody vouches for is refused with exit 4, the command in the hint trusts it, and removing the scope undoes it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg

gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key 'release <r@gantry.example>' ed25519 sign never
gpg --armor --export >"$T/key.asc"
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
export GANTRY_POLICY=$T/trust/policy.json
printf 'default-docker: {lookaside: "file://%s/sigstore"}\n' "$T" >"$XDG_CONFIG_HOME/containers/registries.d/x.yaml"
mkdir "$T/trust" && echo '{"default":[{"type":"reject"}]}' >"$GANTRY_POLICY"
gantry sign --key r@gantry.example --as docker://quay.io/org/app:v1 "oci:$T/layout" >/dev/null
verify() { gantry verify "$@" --as quay.io/org/app:v1 "oci:$T/layout:v1"; }

expect_exit 4 verify
expect_text "'quay.io/org/app:v1' is refused: the policy rejects it" "$T/err"
expect_text "$T/sigstore/org/app@sha256=" "$T/err"
hint=$(grep -o 'gantry trust add [^;]*' "$T/err")
expect_exit 0 bash -c "${hint/KEYFILE/$T/key.asc}"
expect_exit 0 verify
expect_exit 4 gantry verify --as quay.io/org/apple:v1 "oci:$T/layout:v1"
expect_exit 0 verify --explain
expect_text '^  pass  signed: ' "$T/out"
expect_exit 0 verify --json
expect_text '"allowed": true' "$T/out"
expect_exit 0 gantry trust list
expect_text 'release <r@gantry.example>' "$T/out"
expect_exit 0 gantry trust remove docker://quay.io/org/app
expect_exit 4 verify
expect_exit 0 verify --insecure-options=image
expect_text 'insecure-options=image' "$T/err"
