# Signatures and attestations go along: gantry fetch --referrers takes what refers to an image into the store, whichever
# way the registry lists it and whatever it says of its blobs, gantry push --referrers puts it into the next registry; and the store stays sound.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq curl
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"
make_busybox_image "$T/layout" v1
start_registry
push "$T/layout:v1" app:v1
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")
base=http://$registry/v2/app

# put_manifest REFERENCE FILE: prints its digest.
put_manifest() {
  curl -sSf -X PUT -H "Content-Type: $(jq -r .mediaType "$2")" --data-binary "@$2" "$base/manifests/$1" >/dev/null || fail "PUT $1"
  echo "sha256:$(sha256sum <"$2" | cut -d' ' -f1)"
}
printf '{}' >"$T/blob"
empty=sha256:$(sha256sum <"$T/blob" | cut -d' ' -f1)
at=$(curl -sSf -X POST -D - "$base/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$T/blob" "$at&digest=$empty" >/dev/null
jq -nc --arg e "$empty" --arg d "$digest" --argjson n "$(skopeo inspect --raw --tls-verify=false "docker://$registry/app:v1" | wc -c)" '
  {mediaType: "application/vnd.oci.empty.v1+json", digest: $e, size: 2} as $b | {schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json", artifactType: "application/vnd.test.sbom", config: $b,
  layers: [$b, $b + {mediaType: "application/vnd.oci.image.manifest.v1+json"}],
  subject: {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $n}}' >"$T/sbom.json"
sbom=$(put_manifest ignored "$T/sbom.json")
jq -nc --arg d "$sbom" --argjson n "$(stat -c %s "$T/sbom.json")" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
  manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $n}]}' >"$T/list.json"
put_manifest "sha256-${digest#*:}" "$T/list.json" >/dev/null
signature=$(put_manifest "sha256-${digest#*:}.sig" "$T/sbom.json")

expect_exit 0 gantry fetch -q "docker://$registry/app:v1"
[ ! -e "$GANTRY_ROOT/referrers" ] || fail "referrers came without being asked for"
expect_exit 0 gantry fetch -q --referrers "docker://$registry/app:v1"
name=$registry/app:v1
[ "$(jq '.manifests | length' "$GANTRY_ROOT/referrers/sha256-${digest#*:}")" = 2 ] || fail "not both are in the store"
expect_exit 0 gantry store gc
expect_exit 0 gantry store check

start_registry
expect_exit 0 gantry push -q --json --referrers "$name" "docker://$registry/copy:v1"
expect_text '"referrers":1' "$T/out"
base=http://$registry/v2/copy
curl -sSf -H "Accept: application/vnd.oci.image.index.v1+json" "$base/manifests/sha256-${digest#*:}" | jq -e --arg d "$sbom" '.manifests[0] | .digest == $d and .artifactType == "application/vnd.test.sbom"' >/dev/null ||
  fail "the list of referrers is not there"
[ "$(curl -sSf -H "Accept: application/vnd.oci.image.manifest.v1+json" "$base/manifests/sha256-${digest#*:}.sig" | sha256sum | cut -d' ' -f1)" = "${signature#*:}" ] || fail "no signature"

# From a layout that skopeo wrote, too; and they go when the image goes.
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/copy:v1" "oci:$T/back:v1"
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/copy:sha256-${digest#*:}.sig" "oci:$T/back:sha256-${digest#*:}.sig"
expect_exit 0 gantry push -q --json --referrers "oci:$T/back:v1" "docker://$registry/third:v1"
expect_text '"referrers":1' "$T/out"
expect_exit 0 gantry store rm "$name"
expect_exit 0 gantry store gc
[ ! -e "$GANTRY_ROOT/blobs/sha256/${sbom#*:}" ] || fail "a referrer outlived its image"
expect_exit 0 gantry store check
