# What an old registry holds as Docker's schema 1, signed, is fetched and converted, and has the same files and settings as
# the image it was made of; a digest is that of the old manifest's payload.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq curl
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"
start_registry REGISTRY_COMPATIBILITY_SCHEMA1_ENABLED=true
make_busybox_image "$T/layout" v1
# skopeo makes schema 1 of what tells how it was built.
old=$T/layout/blobs/sha256/$(jq -r '.manifests[0].digest' "$T/layout/index.json" | cut -d: -f2)
jq -c '.history = [.rootfs.diff_ids[] | {created: "2015-01-01T00:00:00Z", created_by: "make it"}]' \
  "$T/layout/blobs/sha256/$(jq -r .config.digest "$old" | cut -d: -f2)" >"$T/config"
size=$(stat -c %s "$T/config")
jq -c --arg d "$(put_blob "$T/layout" "$T/config")" --argjson s "$size" '.config.digest = $d | .config.size = $s' "$old" >"$T/new"
size=$(stat -c %s "$T/new")
jq -c --arg d "$(put_blob "$T/layout" "$T/new")" --argjson s "$size" '.manifests[0].digest = $d | .manifests[0].size = $s' \
  "$T/layout/index.json" >"$T/index" && mv "$T/index" "$T/layout/index.json"
skopeo --insecure-policy copy -q --format v2s1 --dest-tls-verify=false "oci:$T/layout:v1" "docker://$registry/old:v1"
curl -sSf -D "$T/head" "http://$registry/v2/old/manifests/v1" >"$T/manifest"
expect_text '^Content-Type: application/vnd.docker.distribution.manifest.v1[+]prettyjws' "$T/head"
jq -e '.schemaVersion == 1 and (.signatures | length) == 1' "$T/manifest" >/dev/null || fail "not a signed manifest of schema 1"
digest=$(tr -d '\r' <"$T/head" | sed -n 's/^Docker-Content-Digest: //p')

expect_exit 0 gantry fetch -q "docker://$registry/old:v1" "docker://$registry/old@$digest"
[ "$(sed 's/.*@//' "$T/out" | sort -u | wc -l)" = 1 ] || fail "by tag and by digest it is not one image: $(cat "$T/out")"
expect_exit 3 gantry fetch -q "docker://$registry/old@sha256:$(sha256sum <"$T/manifest" | cut -d' ' -f1)"
gantry inspect --json "$registry/old:v1" >"$T/new.json"
jq -e '.manifest.mediaType // .mediaType | contains("manifest.v2+json")' "$T/new.json" >/dev/null || fail "$(cat "$T/new.json")"
expect_exit 0 gantry convert -q "$registry/old:v1" "oci:$T/back:v1"
expect_exit 0 gantry convert -q --squash "oci:$T/back:v1" "oci:$T/a:v1"
expect_exit 0 gantry convert -q --squash "oci:$T/layout:v1" "oci:$T/b:v1"
layer() { jq -r '.rootfs.diff_ids[0]' "$1/blobs/sha256/$(jq -r '.config.digest' "$1/blobs/sha256/$(jq -r '.manifests[0].digest' "$1/index.json" | cut -d: -f2)" | cut -d: -f2)"; }
[ "$(layer "$T/a")" = "$(layer "$T/b")" ] || fail "it has other files"
expect_exit 0 gantry store check

printf '{"default":[{"type":"reject"}]}\n' >"$policy"
expect_exit 4 gantry fetch -q "docker://$registry/old:v1"
expect_text 'schema 1' "$T/err"
