#!/bin/bash
# One image has one identity, however it is packed: in a registry, a layout or an archive, by gzip, zstd or nothing, in
# Docker's format, in one layer, in one ACI or several; and a conversion that makes one tree of the layers tells it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq umoci

make_busybox_image "$T/img" v1
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$policy"
convert() { gantry-convert -q --json "$@" 2>"$T/err" || fail "convert $*: $(cat "$T/err")"; }
identity() { gantry-inspect -q --identity "$1" 2>"$T/err" || fail "inspect --identity $1: $(cat "$T/err")"; }
want=$(identity "oci:$T/img:v1")
same() { [ "$(identity "$1")" = "$want" ] || fail "$1 has another identity"; }

start_registry
push "$T/img:v1" app:oci
push "$T/img:v1" app:docker --format v2s2
for tag in oci docker; do
  gantry-fetch -q "docker://$registry/app:$tag" >/dev/null
  same "docker://$registry/app:$tag"
done
for kind in none gzip zstd; do
  convert "oci:$T/img:v1" "oci:$T/copies:$kind" --compress "$kind" >/dev/null
  same "oci:$T/copies:$kind"
done
convert "oci:$T/img:v1" "oci:$T/copies:docker" --format docker >/dev/null
same "oci:$T/copies:docker"
skopeo --insecure-policy copy -q "oci:$T/img:v1" "oci-archive:$T/img.tar:v1"
same "oci-archive:$T/img.tar:v1"
skopeo --insecure-policy copy -q "oci:$T/img:v1" "docker-archive:$T/saved.tar:example.com/app:v1"
same "docker-archive:$T/saved.tar"
convert "oci:$T/img:v1" "docker-archive:$T/ours.tar:example.com/app:v1" >/dev/null
same "docker-archive:$T/ours.tar"
[ "$(convert "oci:$T/img:v1" "oci:$T/copies:one" --squash | jq -r .identity)" = "$want" ] || fail "--squash tells another"
same "oci:$T/copies:one"
[ "$(convert "oci:$T/img:v1" "aci:$T/img.aci" | jq -r .identity)" = "$want" ] || fail "aci: tells another"
same "aci:$T/img.aci"
# One ACI a layer, with the layers that they were made of beside them, and alone.
convert --layers "oci:$T/img:v1" "aci:$T/acis" >/dev/null
same "aci:$T/acis"
rm -r "$T/acis/blobs"
same "aci:$T/acis"

# The tree that umoci makes of it, packed by tar anew.
umoci unpack --image "$T/img:v1" "$T/bundle" >/dev/null 2>&1
make_image "$T/again" v1 "$(gantry-inspect --config "oci:$T/img:v1" | jq -c .config)" "$T/bundle/rootfs"
same "oci:$T/again:v1"

# And one byte more is another image.
echo more >>"$T/bundle/rootfs/etc/group"
make_image "$T/other" v1 "$(gantry-inspect --config "oci:$T/img:v1" | jq -c .config)" "$T/bundle/rootfs"
[ "$(identity "oci:$T/other:v1")" != "$want" ] || fail "another image has the same identity"
