# gantry-push --all puts every image of an archive below one place, each under its own name, and indexes whole;
# --platform with several makes an index over these.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"
start_registry
make_busybox_image "$T/layout" v1
skopeo --insecure-policy copy -q --additional-tag r.example/b/two:v2 "oci:$T/layout:v1" "docker-archive:$T/saved.tar:r.example/a/one:v1"
expect_exit 2 gantry push --all "docker-archive:$T/saved.tar" "oci:$T/no"
expect_exit 0 gantry push -q --all "docker-archive:$T/saved.tar" "docker://$registry/m/"
expect_text "  docker://$registry/m/one:v1\$" "$T/out"
expect_text "  docker://$registry/m/two:v2\$" "$T/out"
expect_exit 0 gantry push -q --all --scoped "docker-archive:$T/saved.tar" "docker://$registry/"
skopeo inspect --raw --tls-verify=false "docker://$registry/r.example/b/two:v2" >/dev/null

# Three platforms of one image, in a layout with another one beside it.
for arch in amd64 arm64 riscv64; do
  make_image "$T/$arch" x '{"Cmd":["/x"]}' "$T/home"
  layout=$T/$arch
  config=$(jq -r '.config.digest' "$layout/blobs/sha256/$(jq -r '.manifests[0].digest' "$layout/index.json" | cut -d: -f2)")
  jq -c --arg a $arch '.architecture = $a' "$layout/blobs/sha256/${config#*:}" >"$T/config"
  old=$layout/blobs/sha256/$(jq -r '.manifests[0].digest' "$layout/index.json" | cut -d: -f2)
  size=$(stat -c %s "$T/config")
  new=$(put_blob "$T/multi" "$T/config")
  jq -c --arg d "$new" --argjson s "$size" '.config.digest = $d | .config.size = $s' "$old" >"$T/manifest"
  cp -n "$layout"/blobs/sha256/* "$T/multi/blobs/sha256/"
  size=$(stat -c %s "$T/manifest")
  jq -nc --arg d "$(put_blob "$T/multi" "$T/manifest")" --argjson s "$size" --arg a $arch \
    '{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s, platform: {os: "linux", architecture: $a}}'
done >"$T/entries"
jq -sc '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' "$T/entries" >"$T/index"
size=$(stat -c %s "$T/index")
jq -nc --arg d "$(put_blob "$T/multi" "$T/index")" --argjson s "$size" '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.index.v1+json",
  digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": "v1"}}]}' >"$T/multi/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' >"$T/multi/oci-layout"

expect_exit 0 gantry push -q --all "oci:$T/multi:v1" "docker://$registry/multi:all"
skopeo inspect --raw --tls-verify=false "docker://$registry/multi:all" | jq -e '.manifests | length == 3' >/dev/null || fail "not the whole index"
forget "$registry_log"
expect_exit 0 gantry push -q --all --json "oci:$T/multi:v1" "docker://$registry/multi:all"
expect_text '"pushed":false' "$T/out"
[ "$(grep -c 'http.request.method' "$registry_log")" -le 2 ] || fail "more than one request"
expect_exit 0 gantry push -q --platform linux/arm64,linux/riscv64 "oci:$T/multi:v1" "docker://$registry/multi:two"
skopeo inspect --raw --tls-verify=false "docker://$registry/multi:two" | jq -e '[.manifests[].platform.architecture] == ["arm64", "riscv64"]' >/dev/null ||
  fail "not the two"
expect_exit 0 gantry push -q --all "oci:$T/multi" "docker://$registry/tagged/"
expect_text "docker://$registry/tagged:v1\$" "$T/out"
# And from there on, all of it or a part.
expect_exit 0 gantry sync -q --json --platform linux/arm64 "$registry/multi:all" "docker://$registry/one/"
skopeo inspect --raw --tls-verify=false "docker://$registry/one/multi:all" | jq -e '.layers' >/dev/null || fail "not the image alone"
expect_exit 0 gantry sync --json "$registry/multi:all" "docker://$registry/whole/"
jq -e '.copied == 1 and .bytes == 0' "$T/out" >/dev/null || fail "bytes were sent within one registry: $(cat "$T/out")"
