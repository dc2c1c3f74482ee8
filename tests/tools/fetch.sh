# gantry-fetch refuses by default before it fetches a layer; with --insecure-options=image it names the image, prints
# the pin, and a second run asks for no blob.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo
start_registry
make_busybox_image "$T/layout" v1
push "$T/layout:v1" box:v1
parts=$(grep -o '"size":[0-9]*,"digest":"sha256:[0-9a-f]*' "$T/layout/blobs/sha256/"* -h | grep -o 'sha256:.*' | sort -u)

expect_exit 4 gantry-fetch "docker://$registry/box:v1"
expect_text "box:v1.* is refused" "$T/err"
expect_text 'insecure-options=image lets' "$T/err"
[ ! -s "$T/out" ] || fail "a refusal printed: $(cat "$T/out")"
for digest in $parts; do
  ! grep -q "GET /v2/box/blobs/$digest" "$registry_log" || fail "layer $digest was fetched before the decision"
done
! grep -q "$registry" "$GANTRY_ROOT/index.json" || fail "a refused image has a name"

expect_exit 0 gantry-fetch --insecure-options=image "docker://$registry/box:v1"
pin=$(cat "$T/out")
[[ $pin =~ ^$registry/box:v1@sha256:[0-9a-f]{64}$ ]] || fail "printed '$pin'"
expect_text 'insecure-options=image' "$T/err"

# Bare names mean a registry here, and what the store has is not asked for again.
forget "$registry_log"
expect_exit 0 gantry-fetch --insecure-options=image "$registry/box:v1"
[ "$(cat "$T/out")" = "$pin" ] || fail "second fetch printed $(cat "$T/out")"
! grep -q 'GET /v2/box/blobs' "$registry_log" || fail "blobs were fetched twice"

# By digest everything is here already, under a name of its own.
expect_exit 0 gantry-fetch --insecure-options=image --name mine:1 "docker://$registry/box@${pin##*@}"
[ "$(cat "$T/out")" = "docker.io/library/mine:1@${pin##*@}" ] || fail "--name printed $(cat "$T/out")"

expect_exit 3 gantry-fetch --insecure-options=image "docker://$registry/box:absent"
expect_text 'does not have it' "$T/err"
expect_exit 3 gantry-fetch --insecure-options=image --platform linux/s390x "docker://$registry/box:v1"
expect_text 'linux/s390x' "$T/err"
expect_exit 2 gantry-fetch --insecure-options=image "oci:$T/layout:v1"
expect_exit 6 gantry-fetch --insecure-options=image docker://127.0.0.1:1/box:v1

# Where root's engines run, others may not even look for passwords below /run/containers.
mkdir -m 0700 "$T/closed"
expect_exit 0 as_user env XDG_RUNTIME_DIR="$T/closed/none" gantry-fetch -q --insecure-options=image "docker://$registry/box:v1"
