# gantry fetch finds signatures of the Notary Project as referrers of the image, where the policy asks for them, and keeps
# them; a manifest that refers to another image is none.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq curl openssl

cd "$T"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.crt -days 2 \
  -subj /C=US/ST=WA/O=own/CN=signer -addext keyUsage=critical,digitalSignature -addext basicConstraints=CA:FALSE 2>/dev/null
mkdir -p root notation/trust-store/x509/ca/own && echo hello >root/hello && cp own.crt notation/trust-store/x509/ca/own
printf '{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"strict"},
  "trustStores":["ca:own"],"trustedIdentities":["x509.subject: C=US,ST=WA,O=own"]}]}' >notation/trustpolicy.json
printf '{"default":[{"type":"notationSigned","directory":"%s"}]}' "$T/notation" >"$policy"
make_image layout v1 '{"Cmd":["/hello"]}' root
start_registry
push layout:v1 app:v1
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")
put() { curl -sSf -X PUT -H "Content-Type: $1" --data-binary "@$2" "http://$registry/v2/app/$3" >/dev/null || fail "PUT $3"; }
# descriptor TYPE FILE: uploads it.
descriptor() {
  local at digest
  digest=sha256:$(sha256sum <"$2" | cut -d' ' -f1)
  at=$(curl -sSf -X POST -D - "http://$registry/v2/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
  curl -sSf -X PUT -H "Content-Type: application/octet-stream" --data-binary "@$2" "$at&digest=$digest" >/dev/null || fail "PUT blob"
  jq -nc --arg t "$1" --arg d "$digest" --argjson s "$(stat -c %s "$2")" '{mediaType:$t,digest:$d,size:$s}'
}
# refer SUBJECT: a manifest with the envelope, and the tag that stands in for referrers.
refer() {
  local type=application/vnd.oci.image
  jq -nc --argjson l "$(descriptor application/jose+json envelope)" --argjson c "$(descriptor application/vnd.cncf.notary.signature empty)" \
    --argjson s "$1" --arg m $type.manifest.v1+json '{schemaVersion:2,mediaType:$m,config:$c,layers:[$l],subject:$s}' >manifest
  put $type.manifest.v1+json manifest manifests/referrer
  jq -nc --arg d "sha256:$(sha256sum <manifest | cut -d' ' -f1)" --argjson s "$(stat -c %s manifest)" --arg m $type.manifest.v1+json \
    --arg i $type.index.v1+json '{schemaVersion:2,mediaType:$i,manifests:[{mediaType:$m,digest:$d,size:$s}]}' >index
  put $type.index.v1+json index "manifests/sha256-${digest#*:}"
}
tail -c +16 "$(gantry sign --x509 own.key --chain own.crt --as "$registry/app:v1" oci:layout:v1)" | jq -r .payload | base64 -d >envelope
printf '{}' >empty
subject=$(jq -c '.manifests[0] | {mediaType, digest, size}' layout/index.json)

expect_exit 4 gantry fetch "docker://$registry/app:v1"
refer "$(jq -c '.digest = "sha256:" + "0" * 64' <<<"$subject")"
expect_exit 4 gantry fetch "docker://$registry/app:v1"
refer "$subject"
expect_exit 0 gantry fetch "docker://$registry/app:v1"
expect_exit 0 gantry verify "$registry/app:v1"
