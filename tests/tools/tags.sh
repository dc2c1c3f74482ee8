# gantry tags lists what skopeo lists, and says when there is no such repository.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
start_registry
make_busybox_image "$T/layout" v1
for tag in v1 v2 latest; do push "$T/layout:v1" "box:$tag"; done

expect_exit 0 gantry-tags "docker://$registry/box"
[ "$(sort "$T/out" | xargs)" = 'latest v1 v2' ] || fail "printed $(cat "$T/out")"
expect_exit 0 gantry-tags --json "$registry/box"
[ "$(jq -r '.tags | sort | join(" ")' "$T/out")" = 'latest v1 v2' ] || fail "printed $(cat "$T/out")"
expect_exit 3 gantry-tags "docker://$registry/absent"
expect_exit 2 gantry-tags "docker://$registry/box:v1"
