# gantry-push puts a local image into a registry under policy, with the manifest as it is, and does nothing the second
# time; skopeo copies it back.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo
start_registry
make_busybox_image "$T/layout" v1
manifest=$(sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' "$T/layout/index.json")

expect_exit 4 gantry-push "oci:$T/layout:v1" "docker://$registry/box:v1"
! grep -q '"POST\|"PUT' "$registry_log" || fail "a refused image was pushed"

expect_exit 0 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1" "docker://$registry/two/box"
[ "$(sed -n 1p "$T/out")" = "$manifest  docker://$registry/box:v1" ] || fail "printed $(cat "$T/out")"
expect_text "^$manifest  docker://$registry/two/box:latest\$" "$T/out"
for name in box:v1 two/box:latest; do
  skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/$name" "dir:$T/back"
  cmp "$T/back/manifest.json" "$T/layout/blobs/sha256/${manifest#sha256:}"
done

# What is there already takes one request.
forget "$registry_log"
expect_exit 0 gantry-push -q --json --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1"
expect_text '"pushed":false' "$T/out"
expect_soon HEAD "$registry_log"
[ "$(grep -c 'http.request.method' "$registry_log")" -le 2 ] || fail "more than one request: $(cat "$registry_log")"

# A name with the digest of another image is not this one's, whatever the tag leads to.
wrong=sha256:$(printf 'a%.0s' {1..64})
for name in "box:v1@$wrong" "box@$wrong" "new:v1@$wrong"; do
  for command in push convert; do
    expect_exit 2 gantry-$command -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/$name"
  done
done
expect_exit 0 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1@$manifest"

# A layer that is damaged is told from a registry that refuses a sound one, and nothing gets a name.
cp -r "$T/layout" "$T/damaged"
layer=$(ls -S "$T/damaged/blobs/sha256" | head -n 1)
spoil "$T/damaged/blobs/sha256/$layer" 5000
expect_exit 5 gantry-push -q --insecure-options=image "oci:$T/damaged:v1" "docker://$registry/damaged:v1"
expect_text "$layer" "$T/err"
expect_exit 3 gantry-fetch -q --insecure-options=image "docker://$registry/damaged:v1"

# In another repository of the same registry the blobs are mounted, not sent.
forget "$registry_log"
expect_exit 0 gantry-push -q --mount-from box --insecure-options=image "oci:$T/layout:v1" "docker://$registry/other:v1"
! grep -q 'http.request.method=P\(ATCH\|UT\).*blobs' "$registry_log" || fail "blobs were sent: $(cat "$registry_log")"
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/other:v1" "dir:$T/other"

# What docker save writes and an ACI go under the manifest that inspect shows.
skopeo --insecure-policy copy -q "oci:$T/layout:v1" "docker-archive:$T/saved.tar:box:v1"
gantry-convert -q --insecure-options=image "oci:$T/layout:v1" "aci:$T/box.aci"
for source in "docker-archive:$T/saved.tar" "aci:$T/box.aci"; do
  expect_exit 0 gantry-push -q --insecure-options=image "$source" "docker://$registry/${source%%:*}:v1"
  skopeo inspect --raw --tls-verify=false "docker://$registry/${source%%:*}:v1" | cmp - <(gantry-inspect --raw "$source")
done
