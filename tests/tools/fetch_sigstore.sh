# gantry fetch finds sigstore signatures in the repository itself: behind cosign's tag, and behind the tag that stands in for
# referrers; it asks for them only where the policy does, and keeps them, so that the image verifies in the store too.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq curl

export COSIGN_PASSWORD=
gantry keygen -q --output "$T/release" >/dev/null
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
start_registry
push "$T/layout:v1" app:v1
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")
put() { curl -sSf -X PUT -H "Content-Type: $1" --data-binary "@$2" "http://$registry/v2/app/$3" >/dev/null || fail "PUT $3"; }
blob() {
  local at
  at=$(curl -sSf -X POST -D - "http://$registry/v2/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
  curl -sSf -X PUT -H "Content-Type: application/octet-stream" --data-binary "@$1" "$at&digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1)" >/dev/null || fail "PUT blob"
}
# descriptor TYPE FILE [MORE]: uploads it.
descriptor() {
  blob "$2"
  jq -nc --arg t "$1" --arg d "sha256:$(sha256sum <"$2" | cut -d' ' -f1)" --argjson s "$(stat -c %s "$2")" \
    "{mediaType:\$t,digest:\$d,size:\$s} + ${3:-{\}}"
}
# attach TAG FORM: signs as FORM, and puts the manifest with that signature under TAG.
attach() {
  local signature layer config subject
  signature=$(gantry sign --form "$2" --key "$T/release.key" --as "$registry/app:v1" "oci:$T/layout:v1")
  tail -c +16 "$signature" >"$T/signature" && rm -r "$T/layout/signatures"
  jq -r .payload "$T/signature" | base64 -d >"$T/payload"
  printf '{}' >"$T/empty"
  layer=$(descriptor "$(jq -r .mimeType "$T/signature")" "$T/payload" "$(jq -c '{annotations}' "$T/signature")")
  config=$(descriptor application/vnd.oci.image.config.v1+json "$T/empty")
  subject=$(jq -c '.manifests[0] | {mediaType, digest, size}' "$T/layout/index.json")
  jq -nc --argjson l "$layer" --argjson c "$config" --argjson s "$subject" \
    '{schemaVersion:2,mediaType:"application/vnd.oci.image.manifest.v1+json",config:$c,layers:[$l],subject:$s}' >"$T/attached"
  put application/vnd.oci.image.manifest.v1+json "$T/attached" "manifests/$1"
}
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s/app":[{"type":"sigstoreSigned","keyPath":"%s"}]}}}' \
  "$registry" "$T/release.pub" >"$policy"
expect_exit 4 gantry fetch "docker://$registry/app:v1"
expect_text "app:sha256-${digest#*:}.sig" "$T/err"
attach "sha256-${digest#*:}.sig" payload
expect_exit 0 gantry fetch "docker://$registry/app:v1"
expect_exit 0 gantry verify "$registry/app:v1"
curl -sSf -X DELETE "http://$registry/v2/app/manifests/sha256:$(sha256sum <"$T/attached" | cut -d' ' -f1)"
rm -r "$GANTRY_ROOT"
expect_exit 4 gantry fetch "docker://$registry/app:v1"

attach referrer bundle
jq -nc --arg d "sha256:$(sha256sum <"$T/attached" | cut -d' ' -f1)" --argjson s "$(stat -c %s "$T/attached")" '{schemaVersion:2,
  mediaType:"application/vnd.oci.image.index.v1+json",manifests:[{mediaType:"application/vnd.oci.image.manifest.v1+json",digest:$d,size:$s}]}' >"$T/index"
put application/vnd.oci.image.index.v1+json "$T/index" "manifests/sha256-${digest#*:}"
expect_exit 0 gantry fetch "docker://$registry/app:v1"
forget "$registry_log"
expect_exit 0 gantry fetch --insecure-options=image "docker://$registry/app:v1"
! grep -q 'referrers\|\.sig' "$registry_log" || fail "looked for what nobody asked for"
