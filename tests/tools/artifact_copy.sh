# Artifacts go where images go, and keep their digest: registry, store, layout, archive, and back into a registry; skopeo reads
# and writes the same; the store lists them, keeps them through gc and finds them sound.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
accept_anything
start_registry
mkdir "$T/files" && cd "$T/files"
echo 'a: 1' >values.yaml && head -c 300000 /dev/urandom >module.wasm
digest=$(make_artifact "$T/layout" v1 application/vnd.example.bundle.v1 values.yaml module.wasm)
chart=$(make_artifact "$T/chart" v2 application/vnd.cncf.helm.config.v1+json values.yaml)
push "$T/layout:v1" team/bundle:v1
push "$T/chart:v2" team/chart:v2

expect_exit 0 gantry fetch --json "docker://$registry/team/bundle:v1"
jq -e --arg d "$digest" '.digest == $d and .artifactType == "application/vnd.example.bundle.v1" and .layers == 2 and .bytes == 300005' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry fetch "docker://$registry/team/chart:v2"
expect_text "team/chart:v2@$chart\$" "$T/out"
expect_exit 0 gantry fetch -q --platform linux/s390x "docker://$registry/team/chart@$chart"
expect_exit 0 gantry store list
expect_text 'team/chart:v2 .* application/vnd.cncf.helm.config.v1\+json ' "$T/out"
expect_exit 0 gantry store show --json "$registry/team/bundle:v1"
jq -e '.[0] | .artifactType == "application/vnd.example.bundle.v1" and (.layers | map(.present) == [true, true])' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry store gc
expect_exit 0 gantry store check
skopeo --insecure-policy copy -q "oci:$GANTRY_ROOT:$registry/team/bundle:v1" "oci:$T/skopeo:v1"
cmp "$T/layout/blobs/sha256/${digest#*:}" "$T/skopeo/blobs/sha256/${digest#*:}"

# On from each, and back.
expect_exit 0 gantry convert "$registry/team/bundle:v1" "oci:$T/one:v1"
expect_text "^$digest " "$T/out"
expect_exit 0 gantry convert "oci:$T/one:v1" "oci-archive:$T/two.tar:v1"
expect_exit 0 gantry convert "oci-archive:$T/two.tar:v1" store:localhost/three:v1
expect_exit 0 gantry convert --json store:localhost/three:v1 "docker://$registry/team/four:v1"
jq -e --arg d "$digest" '.id == $d and .pushed and .artifactType == "application/vnd.example.bundle.v1"' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry convert "docker://$registry/team/four:v1" "oci:$T/five"
for from in "oci:$T/five" "oci-archive:$T/two.tar:v1" localhost/three:v1; do
  expect_exit 0 gantry push "$from" "docker://$registry/team/six:v1"
  expect_text "^$digest " "$T/out"
done
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/team/six:v1" "oci:$T/seven:v1"
skopeo --insecure-policy copy -q "oci-archive:$T/two.tar:v1" "dir:$T/eight"
cmp "$T/seven/blobs/sha256/${digest#*:}" "$T/eight/manifest.json"
expect_exit 0 gantry tags "$registry/team/six"
expect_exit 0 gantry store rm localhost/three:v1 "$registry/team/bundle:v1" "$registry/team/four:v1"
expect_exit 0 gantry store gc
[ ! -e "$GANTRY_ROOT/blobs/sha256/${digest#*:}" ] || fail "it outlived its names"
expect_exit 0 gantry store check
