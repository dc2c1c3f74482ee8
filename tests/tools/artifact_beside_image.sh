# An unsigned image that calls itself an artifact does not slip through beside a signed one, though clients that look at
# platforms alone would take it: nobody converts, pushes, syncs, fetches or serves it, under whatever platform it is listed.
# BuildKit's attestation, which nobody can take for an image, goes with its image unasked.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo jq
export COSIGN_PASSWORD=pass
start_registry
cd "$T"
here=$(image_architecture)
manifest=application/vnd.oci.image.manifest.v1+json index=application/vnd.oci.image.index.v1+json
mkdir tree && echo good >tree/file
make_image good v1 '{"Cmd":["/file"]}' tree
push "$T/good:v1" team/app:good
echo evil >tree/file
make_image evil v1 '{"Cmd":["/file"]}' tree
gantry inspect --raw oci:evil:v1 | jq -jc '.artifactType = "application/vnd.example"' >changed
evil_size=$(stat -c%s changed) evil=$(put_blob "$T/evil" changed)
attestation=$(make_artifact "$T/evil" x application/vnd.oci.image.config.v1+json tree/file)
cp -r evil/blobs good/
image=$(jq -c --arg a "$here" '.manifests[0] | del(.annotations) | .platform = {os: "linux", architecture: $a}' good/index.json)
gantry keygen -q --output key >/dev/null
accept_anything
expect_exit 0 gantry sign --key key.key "docker://$registry/team/app:good"
expect_exit 0 gantry sign --key key.key --as "docker://$registry/team/app:good" oci:good:v1
# publish TAG ENTRY: the signed image, after an entry beside it.
publish() {
  jq -jnc --arg t $index --argjson image "$image" --argjson entry "$2" '{schemaVersion: 2, mediaType: $t, manifests: [$entry, $image]}' >"$1"
  local size digest
  size=$(stat -c%s "$1") digest=$(put_blob "$T/good" "$1")
  jq -nc --arg t $index --arg d "$digest" --argjson n "$size" --arg r "$1" '{schemaVersion: 2, manifests: [{mediaType: $t, digest: $d, size: $n, annotations: {"org.opencontainers.image.ref.name": $r}}]}' >good/index.json
  push "$T/good:$1" "team/app:$1" --all
}
strict() { printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s/team":[{"type":"sigstoreSigned","keyPath":"%s","signedIdentity":{"type":"matchRepository"}}]}}}' "$registry" "$T/key.pub" >"$policy"; }
# every CODE TAG: what each way of republishing ends with.
every() {
  local from=docker://$registry/team/app:$2
  expect_exit "$1" gantry convert --all "$from" "docker://$registry/other/$2:v1"
  expect_exit "$1" gantry push --all --as "$registry/team/app:$2" "oci:good:$2" "docker://$registry/other/pushed-$2:v1"
  expect_exit "$1" gantry sync "$from" "docker://$registry/synced/$2/"
  expect_exit "$1" gantry fetch --all "$from"
}

for platform in "linux $here" "linux s390x" "unknown unknown"; do
  tag=as-${platform/* /}
  publish "$tag" "$(jq -nc --arg t $manifest --arg d "$evil" --argjson n "$evil_size" --arg p "$platform" '($p | split(" ")) as $p | {mediaType: $t, digest: $d, size: $n,
    platform: {os: $p[0], architecture: $p[1]}, artifactType: "application/vnd.example", annotations: {"vnd.docker.reference.type": "attestation-manifest"}}')"
  strict
  every 4 "$tag"
  start_server
  expect_status 403 "http://$server/v2/team/app/manifests/$evil"
  expect_status 403 "http://$server/v2/team/app/manifests/$tag"
  expect_status 403 "http://$server/v2/team/app/manifests/$evil"
  stop_server
done
[ -z "$(gantry store list -q)" ] || fail "something got a name"
expect_exit 3 gantry tags "$registry/other/as-$here"

strict
publish attested "$(jq -nc --arg t $manifest --arg d "$attestation" --argjson n "$(stat -c%s "good/blobs/sha256/${attestation#*:}")" --argjson image "$image" '{mediaType: $t, digest: $d, size: $n,
  platform: {os: "unknown", architecture: "unknown"}, annotations: {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": $image.digest}}')"
every 0 attested
start_server
expect_status 200 "http://$server/v2/team/app/manifests/attested"
expect_status 200 "http://$server/v2/team/app/manifests/$attestation"

# Who vouches for an artifact beside an image signs it with the image.
tag=as-$here
expect_exit 4 gantry verify "docker://$registry/team/app@$evil"
expect_exit 0 gantry sign --all --key key.key --as "docker://$registry/team/app:$tag" "docker://$registry/team/app:$tag"
[ "$(wc -l <out)" = 3 ] || fail "not an index, an image and an artifact: $(cat out)"
expect_exit 0 gantry sync "docker://$registry/team/app:$tag" "docker://$registry/synced/again/"
