# A tag that was an artifact's when it was fetched, and is an image's now: gantry run takes the image. By its digest, and by its
# name in the store, the artifact stays what it is.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
unshare -r true 2>/dev/null || [ "$(id -u)" = 0 ] || skip "no containers here"
accept_anything
start_registry
cd "$T"
name=$registry/team/moved:v1
echo one >one.txt
artifact=$(make_artifact "$T/artifact" v1 application/vnd.example.v1 one.txt)
make_busybox_image "$T/image" v1
expect_exit 0 gantry push oci:artifact:v1 "docker://$name"
expect_exit 0 gantry fetch "docker://$name"
expect_exit 125 gantry run "docker://$name" echo hello
expect_text 'no image but an artifact' "$T/err"

push "$T/image:v1" team/moved:v1
expect_exit 125 gantry run "docker://${name%:*}@$artifact" echo hello
expect_text 'no image but an artifact' "$T/err"
expect_exit 125 gantry run "store:$name" echo hello
expect_text 'no image but an artifact' "$T/err"
expect_exit 0 gantry run -q "docker://$name" echo hello
expect_text '^hello$' "$T/out"
expect_exit 0 gantry run -q "store:$name" echo again
expect_text '^again$' "$T/out"
