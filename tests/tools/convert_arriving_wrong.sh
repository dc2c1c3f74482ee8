#!/bin/bash
# A layer that comes wrong, short, too long or not at all is told as gantry-fetch alone tells it, whatever it was to be
# converted to while it came, and nothing of it gets a name.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq nginx
accept_anything
start_registry
mkdir "$T/base" "$T/top"
head -c 3000000 /dev/urandom >"$T/base/large"
head -c 2000000 /dev/urandom >"$T/top/data"
make_image "$T/img" v1 '{"Cmd":["/x"]}' "$T/base" "$T/top"
push "$T/img:v1" large:v1
push "$T/img:v1" there:v1

# told WHAT: every kind of conversion ends so. A KIND has a name for @, and words.
told() {
  local kind words code=0
  rm -rf "$T/alone"
  gantry-fetch -q --root "$T/alone" "docker://$registry/large:v1" >/dev/null 2>"$T/wanted" || code=$?
  [ "$code" != 0 ] || fail "$1: fetched all the same"
  for kind in "aci:$T/@.aci" "aci:$T/@.acis --layers" "oci:$T/@:v1" "oci:$T/@:v1 --squash" "oci:$T/@:v1 --compress zstd" \
    "oci-archive:$T/@.tar" "docker-archive:$T/@.tar" 'store:example.com/@:v1' 'store:example.com/@:v2 --squash' \
    "docker://$registry/@:v1 --squash" "docker://$registry/there:v1"; do
    read -ra words <<<"${kind//@/made}"
    rm -rf "$T/store"
    expect_exit "$code" gantry-convert -q "docker://$registry/large:v1" "${words[@]}"
    diff "$T/wanted" "$T/err" || fail "$1, $kind: it says something else"
    [ -z "$(compgen -G "$T/*made*")" ] || fail "$1, $kind: there is $(ls -d "$T"/*made*)"
    ! gantry-store list -q | grep . || fail "$1, $kind: there is a name in the store"
    expect_exit 0 gantry-store check
  done
  expect_exit 3 gantry-fetch -q "docker://$registry/made:v1"
}
layers=$(gantry-inspect --raw "oci:$T/img:v1" | jq -r '.layers[].digest[7:]')
for layer in $layers; do
  kept=$(find "$T" -path "*/blobs/sha256/${layer:0:2}/$layer/data")
  cp "$kept" "$T/kept"
  spoil "$kept" 1500000
  told 'wrong bytes'
  head -c 1500000 "$T/kept" >"$kept"
  told 'a short blob'
  { cat "$T/kept" && echo more; } >"$kept"
  told 'a long blob'
  rm "$kept"
  told 'no blob'
  cp "$T/kept" "$kept"
done
expect_exit 0 gantry-convert -q "docker://$registry/large:v1" "aci:$T/made.aci"

# What is wrong with the conversion itself is told at once, and ends the fetch.
start_proxy http 'access_log off; proxy_max_temp_file_size 0;' '' 'limit_rate 100k;'
rm -rf "$T/store"
expect_exit 7 timeout 10 gantry-convert -q --format docker --preserve-digests "docker://127.0.0.1:$port/large:v1" \
  "oci:$T/o:v1"
expect_text preserve "$T/err"
