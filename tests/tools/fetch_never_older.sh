# A registry that serves again what it served before, well signed, is refused where the policy says neverOlder: also after the
# newer image and its name are gone from the store, and for each platform by itself.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg jq skopeo

make_gpg_key tester
start_registry
name=$registry/org/app:v1
now=$(date +%s)
# put TREE SECONDS: an image, signed at that time, under the one name.
put() {
  if [ ! -d "$T/layout-$1" ]; then
    mkdir "$T/$1" && echo "$1" >"$T/$1/file"
    make_image "$T/layout-$1" v1 '{"Cmd":["/file"]}' "$T/$1"
  fi
  push "$T/layout-$1:v1" org/app:v1
  sign_at "$T/layout-$1" "$name" "$2"
}
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s","neverOlder":true}]}}}' \
  "$registry" "$T/tester.pub.gpg" >"$policy"

put old $((now + 10))
expect_exit 0 gantry fetch -q "docker://$name"
expect_exit 0 gantry fetch -q "docker://$name"
put new $((now + 100))
expect_exit 0 gantry fetch -q "docker://$name"
put old $((now + 10))
expect_exit 4 gantry fetch -q "docker://$name"
expect_text 'older than what was accepted' "$T/err"
[ "$(gantry store list --quiet)" = "$name" ] || fail "the name is gone"
gantry store rm "$name" >/dev/null && gantry store gc >/dev/null
expect_exit 4 gantry fetch -q "docker://$name"
expect_exit 4 gantry convert -q "docker://$name" "oci:$T/copy:v1"
put new $((now + 100))
expect_exit 0 gantry convert -q "docker://$name" "oci:$T/copy:v1"
# Another store has accepted nothing yet.
put old $((now + 10))
expect_exit 0 gantry fetch -q --root "$T/other" "docker://$name"
# One whose layer never came was not accepted.
put newest $((now + 200))
layer=$(gantry inspect --raw "oci:$T/layout-newest:v1" | jq -r '.layers[0].digest[7:]')
rm "$(find "$(dirname "$registry_log")" -path "*/blobs/sha256/${layer:0:2}/$layer/data")"
! gantry convert -q "docker://$name" "oci:$T/copy-newest:v1" 2>"$T/err" || fail "converted without its layer"
put new $((now + 100))
expect_exit 0 gantry convert -q "docker://$name" "oci:$T/copy-new:v1"
