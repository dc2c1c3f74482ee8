# An App Container Image is made while its layers come: where a part of an earlier fetch turns out to be damaged it is made anew of
# the right bytes; and what neverOlder remembers is what has come whole.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo gpg jq
start_registry
mkdir "$T/tree" && head -c 1500000 /dev/urandom >"$T/tree/large"
make_image "$T/layout" v1 '{"Cmd":["/large"]}' "$T/tree"
push "$T/layout:v1" large:v1
accept_anything
layer=$(gantry-inspect --raw "oci:$T/layout:v1" | jq -r '.layers[0].digest[7:]')
start_server --cache "$T/cache" --fresh 0
mkdir -p "$T/cache/store/tmp"
head -c 700000 "$T/layout/blobs/sha256/$layer" >"$T/cache/store/tmp/partial-sha256-$layer"
printf XYZW | dd of="$T/cache/store/tmp/partial-sha256-$layer" bs=1 seek=400000 conv=notrunc status=none
expect_status 200 "$(aci_url large v1)" --http1.0 # which waits for the whole
expect_exit 0 gantry-convert -q --name 127.0.0.1/large "docker://$registry/large:v1" "aci:$T/want.aci"
cmp "$T/want.aci" "$T/body" || fail "not what gantry-convert makes"
[ ! -e "$T/cache/store/tmp/partial-sha256-$layer" ] || fail "the damaged part was not used"

make_gpg_key tester
name=$registry/org/app:v1
now=$(date +%s)
# put TREE SECONDS: an image, signed at that time, under the one name.
put() {
  mkdir -p "$T/$1" && echo "$1" >"$T/$1/file"
  [ -d "$T/layout-$1" ] || make_image "$T/layout-$1" v1 '{"Cmd":["/file"]}' "$T/$1"
  push "$T/layout-$1:v1" org/app:v1
  sign_at "$T/layout-$1" "$name" "$2"
}
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s","neverOlder":true}]}}}' \
  "$registry" "$T/tester.pub.gpg" >"$policy"
reload_server
put newest $((now + 200))
layer=$(gantry-inspect --raw "oci:$T/layout-newest:v1" | jq -r '.layers[0].digest[7:]')
rm "$(find "$(dirname "$registry_log")" -path "*/blobs/sha256/${layer:0:2}/$layer/data")"
[ "$(status_of "$(aci_url org/app v1)" --http1.0)" != 200 ] || fail "made without its layer"
put new $((now + 100))
expect_status 200 "$(aci_url org/app v1)" --http1.0
put old $((now + 10))
expect_status 403 "$(aci_url org/app v1)" --http1.0
expect_text 'older than what was accepted' "$T/body"
