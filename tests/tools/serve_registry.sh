# The distribution protocol: each client pulls what upstream has as it is, and in the form that the name asks for, with
# digests that fit and what refers to it. skopeo, podman, gantry-fetch and curl are the clients.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo jq
registry_with_busybox org/box:v1
accept_anything
start_server

pull() { skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$server/$1" "oci:$T/$2:x" || fail "pull $1"; }
raw() { curl -sS "http://$server/v2/$1/manifests/$2"; }

expect_status 200 "http://$server/v2/"
[ "$(raw org/box v1 | sha256sum)" = "$(gantry-inspect --raw "oci:$T/layout:v1" | sha256sum)" ] || fail "another manifest"
pull org/box:v1 plain
cmp <(gantry-inspect --raw "oci:$T/plain:x") <(gantry-inspect --raw "oci:$T/layout:v1") || fail "skopeo got another image"
digest=$(raw org/box v1 | sha256sum | cut -d' ' -f1)
pull "org/box@sha256:$digest" pinned

# Every form, by its own words, and its content the same.
identity=$(gantry-inspect --identity "oci:$T/layout:v1")
for form in oci docker zstd gzip squashed docker-squashed oci-zstd-squashed; do
  pull "org/box--$form:v1" "form-$form"
  expect_exit 0 gantry-inspect --raw "oci:$T/form-$form:x"
  raw "org/box--$form" v1 >"$T/raw"
  type=$(jq -r .mediaType "$T/raw") layer=$(jq -r '.layers[0].mediaType' "$T/raw")
  case $form in docker*) [[ $type == *docker.distribution.manifest.v2* ]] ;; *) [[ $type == *oci.image.manifest* ]] ;; esac ||
    fail "$form has type $type"
  case $form in *zstd*) [[ $layer == *+zstd ]] ;; *) [[ $layer == *gzip ]] ;; esac || fail "$form has layers $layer"
  case $form in *squashed) [ "$(jq '.layers | length' "$T/raw")" = 1 ] ;; *) [ "$(jq '.layers | length' "$T/raw")" = 3 ] ;; esac ||
    fail "$form has $(jq '.layers | length' "$T/raw") layers"
  [ "$(gantry-inspect --identity "oci:$T/form-$form:x")" = "$identity" ] || fail "$form is something else"
done
expect_status 501 "http://$server/v2/org/box--docker-zstd/manifests/v1"
expect_status 404 "http://$server/v2/org/box--oci-oci/manifests/v1"

# gantry-fetch and podman, who know nothing of forms.
expect_exit 0 gantry-fetch --insecure-options=image "docker://$server/org/box--squashed:v1"
expect_exit 0 gantry-fetch --insecure-options=image "docker://$server/org/box:v1"
if command -v podman >/dev/null && [ "$(id -u)" = 0 ]; then
  expect_exit 0 podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs pull -q --tls-verify=false \
    --signature-policy <(echo '{"default":[{"type":"insecureAcceptAnything"}]}') "$server/org/box--docker:v1"
fi

expect_status 200 "http://$server/v2/org/box/tags/list"
[ "$(jq -c .tags "$T/body")" = '["v1"]' ] || fail "tags $(cat "$T/body")"
expect_status 404 "http://$server/v2/org/box/manifests/none"
[ "$(jq -r '.errors[0].code' "$T/body")" = MANIFEST_UNKNOWN ] || fail "another error: $(cat "$T/body")"
expect_status 404 "http://$server/v2/org/box/blobs/sha256:$(printf x | sha256sum | cut -d' ' -f1)"
expect_status 405 "http://$server/v2/org/box/blobs/uploads/" -X POST

# The store in its cache is one like others.
expect_exit 0 gantry-store --root "$T/cache-1/store" check
expect_exit 0 gantry-store --root "$T/cache-1/store" -q list
expect_text "^$registry/org/box:v1\$" "$T/out"
