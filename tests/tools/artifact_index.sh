# Indexes with artifacts in them: BuildKit's attestation goes with its image and is never the one that is chosen; an index of
# artifacts alone is carried whole, each of them judged; and gantry-sync copies repositories that have all of it among their tags.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
cd "$T"
accept_anything
start_registry
source=$registry
here=$(image_architecture)
echo one >one.txt && echo two >two.txt
index=application/vnd.oci.image.index.v1+json
# list LAYOUT REF JQ...: an index made of index.json's entries by jq's words, named REF, and nothing else named.
list() {
  jq -jc --arg type $index --argjson more "${4:-null}" "{schemaVersion: 2, mediaType: \$type} + $3" "$1/index.json" >"$1/list"
  local size digest
  size=$(stat -c%s "$1/list") digest=$(put_blob "$1" "$1/list")
  jq -nc --arg d "$digest" --argjson n "$size" --arg r "$2" --arg t $index '{schemaVersion: 2, manifests: [{mediaType: $t, digest: $d, size: $n, annotations: {"org.opencontainers.image.ref.name": $r}}]}' >"$1/index.json"
  echo "$digest"
}

make_index "$T/multi" v1 "$here" s390x >/dev/null
multi=$(jq -r '.manifests[0].digest' multi/index.json)
image=$(jq -r '.manifests[0].digest' "multi/blobs/sha256/${multi#*:}")
attestation=$(make_artifact "$T/attestation" x application/vnd.oci.image.config.v1+json one.txt)
cp -r attestation/blobs multi/
jq -jc --arg d "$attestation" --argjson n "$(stat -c%s "multi/blobs/sha256/${attestation#*:}")" --arg about "$image" '.manifests = [{
  mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $n, platform: {os: "unknown", architecture: "unknown"},
  annotations: {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": $about}}] + .manifests' "multi/blobs/sha256/${multi#*:}" >all
size=$(stat -c%s all)
multi=$(put_blob "$T/multi" all)
jq -c --arg d "$multi" --argjson n "$size" '.manifests[0] |= (.digest = $d | .size = $n)' multi/index.json >index && mv index multi/index.json
push "$T/multi:v1" team/app:v1 --all

expect_exit 0 gantry fetch "docker://$source/team/app:v1"
expect_text "@$image\$" "$T/out"
expect_exit 3 gantry fetch --platform unknown/unknown "docker://$source/team/app:v1"
expect_exit 0 gantry convert --all "docker://$source/team/app:v1" oci:copied:v1
expect_text "^$multi " "$T/out"
[ -e "copied/blobs/sha256/${attestation#*:}" ] || fail "the attestation was left behind"
expect_exit 0 gantry convert --platform "linux/$here,linux/s390x" "oci:multi:v1" oci:two:v1
expect_exit 0 gantry inspect --index --json oci:two:v1
jq -e '.manifests | map(.platform) == ["unknown/unknown", "linux/'"$here"'", "linux/s390x"]' "$T/out" >/dev/null || fail "$(cat "$T/out")"

# Artifacts alone.
a=$(make_artifact "$T/a" one application/vnd.example.v1 one.txt)
b=$(make_artifact "$T/b" two application/vnd.example.v1 two.txt)
cp -r b/blobs a/
set=$(list "$T/a" v1 '{artifactType: "application/vnd.example.set.v1", manifests: ((.manifests + $more) | map(del(.annotations) | .artifactType = "application/vnd.example.v1"))}' "$(jq -c .manifests b/index.json)")
expect_exit 0 gantry convert --all --json oci:a:v1 "docker://$source/team/set:v1"
jq -e --arg d "$set" --arg a "$a" --arg b "$b" '.id == $d and (has("images") | not) and
  (.artifacts | map(.source) == [$a, $b] and all(.vouchedBy == "insecureAcceptAnything"))' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry convert --platform linux/amd64,linux/arm64 oci:a:v1 oci:both:v1
expect_text "^$set " "$T/out"
expect_exit 0 gantry fetch --all "docker://$source/team/set:v1"
expect_text "@$a\$" "$T/out"
expect_exit 0 gantry push --all --json "$source/team/set:v1" "docker://$source/team/again:v1"
jq -e --arg d "$set" --arg a "$a" --arg b "$b" '.id == $d and (.artifacts | map(.id) == [$a, $b])' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry inspect --index "$source/team/set:v1"
expect_exit 0 gantry convert "docker://$source/team/set@$b" files:files
cmp two.txt files/two.txt
expect_exit 3 gantry fetch "docker://$source/team/set:v1"
expect_exit 7 gantry convert --all oci:a:v1 files:none
expect_exit 0 gantry store gc
expect_exit 0 gantry store check

# In a Docker list they stay; what is listed as an old artifact manifest is called so.
cp -r a docker && docker=application/vnd.docker.distribution.manifest.list.v2+json
cp "a/blobs/sha256/${set#*:}" docker/list && sed -i "s|$index|$docker|; s|\"artifactType\":\"[^\"]*\",\?||g; s|,}|}|g" docker/list
size=$(stat -c%s docker/list) list=$(put_blob "$T/docker" "$T/docker/list")
jq -c --arg t $docker --arg d "$list" --argjson n "$size" '.manifests[0] |= (.mediaType = $t | .digest = $d | .size = $n)' a/index.json >docker/index.json
expect_exit 0 gantry push --all oci:docker:v1 "docker://$source/team/docker:v1"
expect_text "^$list " "$T/out"
expect_exit 0 gantry convert --all "docker://$source/team/docker:v1" oci-archive:docker.tar:v1
expect_exit 0 gantry inspect --index --json oci-archive:docker.tar:v1
jq -e --arg a "$a" --arg b "$b" '.manifests | map(.digest) == [$a, $b]' "$T/out" >/dev/null || fail "$(cat "$T/out")"
sed -i 's|vnd.oci.image.manifest|vnd.oci.artifact.manifest|g' "docker/blobs/sha256/${list#*:}"
size=$(stat -c%s "docker/blobs/sha256/${list#*:}") && mv "docker/blobs/sha256/${list#*:}" docker/old && old=$(put_blob "$T/docker" docker/old)
jq -c --arg d "$old" --argjson n "$size" '.manifests[0] |= (.digest = $d | .size = $n)' docker/index.json >index && mv index docker/index.json
expect_exit 0 gantry inspect --index --json oci:docker:v1
jq -e '.manifests | map(.kind) == ["artifact", "artifact"]' "$T/out" >/dev/null || fail "$(cat "$T/out")"

# An image that no entry's platform tells of is still what is meant, and not the artifact beside it.
cp -r a/blobs multi/
jq -c --argjson more "$(jq -c .manifests b/index.json)" --arg d "$image" --argjson n "$(stat -c%s "multi/blobs/sha256/${image#*:}")" '{schemaVersion: 2, mediaType: "'$index'",
  manifests: [($more[0] | del(.annotations)), {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $n}]}' a/index.json >mixed
size=$(stat -c%s mixed) mixed=$(put_blob "$T/multi" mixed)
jq -c --arg d "$mixed" --argjson n "$size" '.manifests[0] |= (.digest = $d | .size = $n)' multi/index.json >index && mv index multi/index.json
push "$T/multi:v1" team/mixed:v1 --all
expect_exit 0 gantry convert oci:multi:v1 oci:mixed:v1
expect_text "^$image " "$T/out"
expect_exit 0 gantry fetch "docker://$source/team/mixed:v1"
expect_text "@$image\$" "$T/out"
expect_exit 0 gantry convert "docker://$source/team/mixed:v1" oci:fetched:v1
expect_text "^$image " "$T/out"

# Among the tags of a repository; to a registry that has some of it.
expect_exit 0 gantry convert "docker://$source/team/set@$a" "docker://$source/team/app:chart"
expect_exit 0 gantry convert --all oci:a:v1 "docker://$source/team/app:set"
start_registry
expect_exit 0 gantry sync --json "$source/team/app" "$source/team/set:v1" "docker://$registry/m/"
jq -e '.copied == 4 and .failed == 0' "$T/out" >/dev/null || fail "$(cat "$T/out")"
for name in app:v1=$multi app:chart=$a app:set=$set set:v1=$set; do
  [ "$(skopeo inspect --raw --tls-verify=false "docker://$registry/m/${name%=*}" | sha256sum | cut -d' ' -f1)" = "${name#*:*:}" ] || fail "$name is another"
done
expect_exit 0 gantry sync --platform "linux/$here" "$source/team/mixed:v1" "$source/team/set:v1" "docker://$registry/p/"
for name in mixed:v1=$image set:v1=$set; do
  [ "$(skopeo inspect --raw --tls-verify=false "docker://$registry/p/${name%=*}" | sha256sum | cut -d' ' -f1)" = "${name#*:*:}" ] || fail "$name is another"
done
expect_exit 0 gantry sync --json "$source/team/app" "docker://$registry/m/"
jq -e '.same == 3 and .bytes == 0' "$T/out" >/dev/null || fail "$(cat "$T/out")"

# Each is asked about.
printf '{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"%s/team/set":[{"type":"reject"}]}}}' "$source" >"$policy"
expect_exit 4 gantry sync "$source/team/set:v1" "docker://$registry/none/"
expect_exit 4 gantry fetch --all "docker://$source/team/set:v1"
expect_exit 4 gantry push --all --as "$source/team/set:v1" oci:a:v1 "docker://$registry/none:v1"
expect_exit 3 gantry tags "$registry/none"
