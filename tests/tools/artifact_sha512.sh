# An artifact that a layout lists by a sha512 digest keeps it where the digest is the name, and is found again by it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
accept_anything
cd "$T"
echo one >one.txt
manifest=layout/blobs/sha256/$(make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt | cut -d: -f2)
long=$(sha512sum <"$manifest" | cut -d' ' -f1)
mkdir layout/blobs/sha512 && mv "$manifest" "layout/blobs/sha512/$long"
jq -c --arg d "sha512:$long" '.manifests[0].digest = $d' layout/index.json >index && mv index layout/index.json
for all in '' --all; do
  expect_exit 0 gantry convert $all oci:layout:v1 "store:localhost/a$all:v1"
  expect_text "sha512:$long " "$T/out"
  expect_exit 0 gantry convert $all "localhost/a$all:v1" "oci:there$all:v1"
  cmp "layout/blobs/sha512/$long" "there$all/blobs/sha512/$long"
  expect_exit 0 gantry convert "oci:there$all:v1" "files:files$all"
  cmp one.txt "files$all/one.txt"
done
expect_exit 0 gantry store check
start_registry
expect_exit 0 gantry push oci:layout:v1 "docker://$registry/a:v1"
expect_exit 0 gantry convert "docker://$registry/a:v1" files:back
cmp one.txt back/one.txt
