# An index comes through as it is, with all that it lists, and in another form as an index of images in that form; what
# refers to an image comes along. By a tag with --platform only what was asked for is fetched, and the index stays whole.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo jq
start_registry
digest=$(make_index "$T/layout" all amd64 arm64 s390x)
push "$T/layout:all" app:1 --all
accept_anything
start_server

raw() { curl -sS "http://$server/v2/$1/manifests/$2"; }
[ "sha256:$(raw app 1 | sha256sum | cut -d' ' -f1)" = "$digest" ] || fail "another index"
expect_exit 0 skopeo --insecure-policy copy -q --all --src-tls-verify=false "docker://$server/app:1" "oci:$T/copy:1"
raw app--docker-squashed 1 >"$T/docker"
[ "$(jq -r .mediaType "$T/docker")" = application/vnd.docker.distribution.manifest.list.v2+json ] || fail "$(cat "$T/docker")"
[ "$(jq -c '[.manifests[].platform.architecture]' "$T/docker")" = '["amd64","arm64","s390x"]' ] || fail "$(cat "$T/docker")"
expect_exit 0 skopeo --insecure-policy copy -q --all --src-tls-verify=false "docker://$server/app--docker-squashed:1" \
  "oci:$T/squashed:1"
for arch in amd64 aarch64; do
  expect_status 200 "http://$server/app-1-linux-$arch.aci"
  tar -xOzf "$T/body" manifest | jq -e --arg a "$arch" '.labels[] | select(.name == "arch").value == $a' >"$T/out" ||
    fail "not for $arch"
done

# Signatures and attestations.
COSIGN_PASSWORD='' gantry keygen -q --output "$T/cosign" >"$T/out"
COSIGN_PASSWORD='' expect_exit 0 gantry-sign --key "$T/cosign.key" --form payload,bundle --platform linux/amd64 "docker://$registry/app:1"
image=$(raw app 1 | jq -r '.manifests[] | select(.platform.architecture == "amd64").digest')
reload_server
raw app 1 >"$T/out"
expect_status 200 "http://$server/v2/app/referrers/$image"
jq -e '.manifests | length > 0' "$T/body" >"$T/out" || fail "no referrers: $(cat "$T/body")"
expect_status 200 "http://$server/v2/app/manifests/${image/:/-}.sig"

start_server --platform linux/arm64
: >"$registry_log"
[ "sha256:$(raw app 1 | sha256sum | cut -d' ' -f1)" = "$digest" ] || fail "another index with --platform"
arm=$(raw app 1 | jq -r '.manifests[] | select(.platform.architecture == "arm64").digest')
expect_status 200 "http://$server/v2/app/manifests/$arm"
expect_status 200 "http://$server/v2/app/manifests/$image"
