# What skopeo pushes, gantry-fetch pulls: Docker's and OCI's manifests, zstd layers, a list of platforms, behind a password.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo htpasswd jq
htpasswd -Bbn user 'pass word' >"$T/htpasswd"
start_registry REGISTRY_AUTH=htpasswd REGISTRY_AUTH_HTPASSWD_REALM=test REGISTRY_AUTH_HTPASSWD_PATH="$T/htpasswd"
printf '{"auths":{"%s":{"auth":"%s"}}}' "$registry" "$(printf 'user:pass word' | base64)" >"$T/auth.json"
make_busybox_image "$T/layout" v1
export REGISTRY_AUTH_FILE="$T/auth.json"
push "$T/layout:v1" box:oci
push "$T/layout:v1" box:docker --format v2s2
gantry-convert -q --insecure-options=image --compress zstd "oci:$T/layout:v1" "oci:$T/zstd:v1" >/dev/null 2>"$T/err" || fail "$(cat "$T/err")"
# Or skopeo puts a layer of box:oci there, which it may know to be the same in gzip.
push "$T/zstd:v1" zstd:v1 --preserve-digests

for name in box:oci box:docker zstd:v1; do
  expect_exit 0 gantry-fetch --json --insecure-options=image "docker://$registry/$name"
  digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/$name")
  expect_text "\"digest\":\"$digest\"" "$T/out"
done
gantry-store check
skopeo --insecure-policy copy -q "oci:$GANTRY_ROOT:$registry/zstd:v1" "dir:$T/copy"
[ "$(jq -c '[.layers[].mediaType | split("+")[1]] | unique' "$T/copy/manifest.json")" = '["zstd"]' ] || fail "not zstd"

# An index: the host's entry is chosen, another one on request, and an absent one is answered with what there is.
manifest=$(sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' "$T/layout/index.json")
size=$(stat -c%s "$T/layout/blobs/sha256/${manifest#sha256:}")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"%s","digest":"%s","size":%s,"platform":{"os":"linux","architecture":"%s"}}]}' \
  application/vnd.oci.image.manifest.v1+json "$manifest" "$size" "$(image_architecture)" >"$T/index"
curl -fsS -u 'user:pass word' -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
  --data-binary "@$T/index" "http://$registry/v2/box/manifests/multi"
expect_exit 0 gantry-fetch --insecure-options=image "docker://$registry/box:multi"
expect_text "box:multi@$manifest" "$T/out"
expect_exit 3 gantry-fetch --insecure-options=image --platform linux/s390x "docker://$registry/box:multi"
expect_text "it has linux/$(image_architecture)" "$T/err"

# Without the password: exit 1, told to log in, the password nowhere.
REGISTRY_AUTH_FILE=$T/absent expect_exit 1 gantry-fetch --insecure-options=image "docker://$registry/box:oci"
expect_text 'log in' "$T/err"
