#!/bin/bash
# All images of an index, or of an archive, as ACIs in one directory, called as docker2aci calls them; and none of them when
# one cannot be written.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/actool.sh"
need jq
need_actool

make_index "$T/img" quay.io/org/app:v1 amd64 arm64 s390x >/dev/null
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$policy"
mkdir "$T/acis"
expect_exit 0 gantry-convert -q --all --json "oci:$T/img" "aci:$T/acis"
[ "$(jq -r .output "$T/out" | xargs -n1 basename | tr '\n' ' ')" = \
  'org-app-v1-linux-amd64.aci org-app-v1-linux-aarch64.aci org-app-v1-linux-s390x.aci ' ] || fail "$(cat "$T/out")"
for aci in "$T"/acis/*.aci; do
  "$actool" validate "$aci" 2>"$T/err" || fail "actool: $(cat "$T/err")"
  tar -xOf "$aci" manifest | jq -e '.name == "quay.io/org/app"' >/dev/null || fail "$aci has another name"
done
[ "$(jq -rs '.[2].id' "$T/out")" = "sha512-$(gzip -dc "$T/acis/org-app-v1-linux-s390x.aci" | sha512sum | cut -d' ' -f1)" ] ||
  fail 'another image ID'
expect_exit 0 gantry-convert -q --platform linux/s390x "oci:$T/img:quay.io/org/app:v1" "aci:$T/one.aci"
cmp "$T/one.aci" "$T/acis/org-app-v1-linux-s390x.aci" || fail 'alone it is another'

# All or none.
rm "$T"/acis/*-amd64.aci
expect_exit 1 gantry-convert -q --platform linux/amd64,linux/arm64 "oci:$T/img" "aci:$T/acis"
[ ! -e "$T/acis/org-app-v1-linux-amd64.aci" ] || fail 'one was written'
expect_exit 0 gantry-convert -q --overwrite --platform linux/amd64,linux/arm64 "oci:$T/img" "aci:$T/acis"

# Several images of one archive.
for name in a:1 b:2; do
  gantry-convert -q --platform linux/amd64 --overwrite "oci:$T/img" "oci:$T/several:example.com/$name" >/dev/null
done
gantry-convert -q --all "oci:$T/several" "docker-archive:$T/several.tar" >/dev/null
mkdir "$T/more"
expect_exit 0 gantry-convert -q --all "oci:$T/several" "aci:$T/more/"
[ "$(ls "$T/more")" = $'a-1.aci\nb-2.aci' ] || fail "$(ls "$T/more")"

# A file is for one image.
expect_exit 7 gantry-convert -q --all "oci:$T/img" "aci:$T/all.aci"
expect_text 'one ACI holds one image' "$T/err"
expect_exit 7 gantry-convert -q --all --layers "oci:$T/img" "aci:$T/more"
