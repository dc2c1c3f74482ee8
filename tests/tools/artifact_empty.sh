# A file of an artifact may be empty, as a marker in a package is, and goes where the others go.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq skopeo
accept_anything
cd "$T"
: >empty && echo one >one.txt
digest=$(make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt empty also=empty)
carried() {
  expect_exit 0 gantry convert "$1" "$2"
  rm -rf files
  expect_exit 0 gantry convert "${3:-$2}" files:files
  cmp one.txt files/one.txt && cmp empty files/empty && cmp empty files/also || fail "$1 to $2"
}
carried oci:layout:v1 oci:other:v1
carried oci:other:v1 oci-archive:archive.tar:v1
carried oci-archive:archive.tar:v1 store:localhost/a:v1
start_registry
carried localhost/a:v1 "docker://$registry/team/a:v1"
start=$registry
expect_exit 0 gantry fetch "docker://$registry/team/a:v1"
expect_exit 0 gantry store check
start_registry
expect_exit 0 gantry push oci:layout:v1 "docker://$registry/pushed/a:v1"
expect_exit 0 gantry sync "docker://$start/team/a:v1" "docker://$registry/synced/"
for name in pushed/a synced/a; do
  skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/$name:v1" "oci:back:v1" || fail "skopeo cannot read $name"
  [ "$(gantry inspect --raw oci:back:v1 | sha256sum | cut -d' ' -f1)" = "${digest#sha256:}" ] || fail "$name is another one"
  rm -r back
done

# What says it is empty and has the name of something else, is hostile; and so is a file system of no bytes.
other=sha256:$(sha256sum <one.txt | cut -d' ' -f1)
for change in ".layers[1].digest = \"$other\"" '.layers[1].mediaType = "application/vnd.oci.image.layer.v1.tar"'; do
  gantry inspect --raw oci:layout:v1 | jq -jc "$change" >manifest
  size=$(stat -c%s manifest)
  jq --arg d "$(put_blob "$T/layout" manifest)" --argjson n "$size" '.manifests[0] |= (.digest = $d | .size = $n)' layout/index.json >index
  cp -r layout bad && cp index bad/index.json
  expect_exit 5 gantry convert oci:bad:v1 files:none
  expect_text 'a blob of no bytes' "$T/err"
  rm -r bad
done
