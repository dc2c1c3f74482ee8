# What gantry signs skopeo accepts, and what skopeo signs gantry accepts; neither under another tag.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo gpg docker-registry

gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key 'release <r@gantry.example>' ed25519 sign never
key=$(gpg --with-colons --list-keys | sed -n 's/^fpr:::::::::\([0-9A-F]*\):/\1/p')
gpg --export "$key" >"$T/key.gpg"
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
start_registry
push "$T/layout:v1" app:v1
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")
printf 'default-docker: {lookaside: "file://%s/sigstore"}\n' "$T" >"$XDG_CONFIG_HOME/containers/registries.d/x.yaml"
gantry trust add -q --yes --policy "$T/policy.json" --key "$T/key.gpg" "docker://$registry/app"

# Ours to skopeo: through the lookaside, and by hand.
expect_exit 1 skopeo copy -q --policy "$T/policy.json" --src-tls-verify=false "docker://$registry/app:v1" "dir:$T/unsigned"
file=$(gantry sign --key "$key" --as "docker://$registry/app:v1" "oci:$T/layout:v1")
expect_exit 0 skopeo copy -q --policy "$T/policy.json" --src-tls-verify=false "docker://$registry/app:v1" "dir:$T/copied"
skopeo inspect --raw --tls-verify=false "docker://$registry/app:v1" >"$T/manifest"
expect_exit 0 skopeo standalone-verify "$T/manifest" "$registry/app:v1" "$key" "$file"
expect_exit 1 skopeo standalone-verify "$T/manifest" "$registry/app:v2" "$key" "$file"

# Theirs to us: as skopeo copies, and by hand; appended, so that ours stays.
push "$T/layout:v1" app:v2 --sign-by "$key"
verify() { gantry verify --policy "$T/policy.json" --as "$registry/$1" "oci:$T/layout:v1"; }
rm -r "$T/sigstore"
expect_exit 4 verify app:v1
push "$T/layout:v1" app:v3 --sign-by "$key"
expect_exit 0 verify app:v3
expect_text "signedBy $key" "$T/out"
expect_exit 4 verify app:v1
skopeo standalone-sign "$T/manifest" "$registry/app:v1" "$key" --output "$T/sigstore/app@sha256=${digest#*:}/signature-2"
expect_exit 0 verify app:v1
expect_exit 0 verify "app@$digest"
expect_exit 4 verify apple:v1
