# The store is an OCI image layout that skopeo reads in place, by the names it has in the store.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

# A store as gantry-fetch leaves it: a layout that names its images in full.
make_busybox_image "$T/layout" 127.0.0.1:5000/foo/bar:v1
expect_exit 0 gantry-store --root "$T/layout" gc
expect_text '^removed 0 blobs' "$T/out"
expect_exit 0 gantry-store --root "$T/layout" check
expect_text '^sound$' "$T/out"

expect_exit 0 gantry-store --root "$T/layout" list -q
[ "$(cat "$T/out")" = 127.0.0.1:5000/foo/bar:v1 ] || fail "list -q: $(cat "$T/out")"
name=$(cat "$T/out")
skopeo inspect "oci:$T/layout:$name" >"$T/skopeo.json" || fail "skopeo does not read the store"
skopeo --insecure-policy copy -q "oci:$T/layout:$name" "dir:$T/copy"
gantry-inspect --root "$T/layout" --raw "$name" | cmp - "$T/copy/manifest.json"
[ "$(jq -r .Digest "$T/skopeo.json")" = "$(gantry-inspect --root "$T/layout" --json "$name" | jq -r .digest)" ]

# What another tool puts there counts as well, and is collected when its name goes.
skopeo --insecure-policy copy -q "dir:$T/copy" "oci:$T/layout:localhost/copy:2"
expect_exit 0 gantry-store --root "$T/layout" rm --json "$name"
expect_exit 0 gantry-store --root "$T/layout" gc --json
[ "$(jq .blobs "$T/out")" = 0 ] || fail "collected what localhost/copy:2 needs"
skopeo inspect "oci:$T/layout:localhost/copy:2" >"$T/skopeo.json" || fail "the layout is no layout any more"
