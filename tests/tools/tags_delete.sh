# gantry tags --delete takes one tag away and leaves the others of the same manifest, on a registry that knows only how to
# delete manifests; one that deletes nothing is left as it was.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo
make_busybox_image "$T/layout" v1
start_registry
for tag in v1 v2 v3; do push "$T/layout:v1" app:$tag; done
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")
expect_exit 0 gantry tags --delete "docker://$registry/app:v2"
[ "$(cat "$T/out")" = "$digest  $registry/app:v2" ] || fail "printed $(cat "$T/out")"
expect_exit 0 gantry tags "$registry/app"
[ "$(sort "$T/out" | xargs)" = 'v1 v3' ] || fail "left $(cat "$T/out")"
[ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v3")" = "$digest" ] || fail "another tag changed"
expect_exit 3 gantry tags --delete "$registry/app:v2"
expect_exit 2 gantry tags --delete "$registry/app"
expect_exit 2 gantry tags --delete "$registry/app@$digest"

start_registry REGISTRY_STORAGE_DELETE_ENABLED=false
push "$T/layout:v1" app:v1
expect_exit 7 gantry tags --delete "$registry/app:v1"
expect_exit 0 gantry tags "$registry/app"
[ "$(cat "$T/out")" = v1 ] || fail "left $(cat "$T/out")"
[ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/app:v1")" = "$digest" ] || fail "the tag moved"
