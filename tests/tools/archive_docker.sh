#!/bin/bash
# What podman, buildah, skopeo and old Dockers save is read as the image it is: with links between layers, compressed,
# through a pipe, and under a policy for the transport.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
make_busybox_image "$T/img" v1
identity=$(gantry-inspect -q --identity "oci:$T/img:v1")
same() { [ "$(gantry-inspect -q --identity "$1")" = "$identity" ] || fail "$1 is another image"; }
skopeo --insecure-policy copy -q "oci:$T/img:v1" "docker-archive:$T/skopeo.tar:example.com/web:1"
same "docker-archive:$T/skopeo.tar"
same "docker-archive:$T/skopeo.tar:example.com/web:1"

# As Docker before 25 lays it out: a directory a layer, here in gzip.
mkdir -p "$T/old/aa" "$T/old/x" && tar xf "$T/skopeo.tar" -C "$T/old/x"
cp "$T/old/x/$(jq -r '.[0].Config' "$T/old/x/manifest.json")" "$T/old/config.json"
mapfile -t layers < <(jq -r '.[0].Layers[]' "$T/old/x/manifest.json")
for i in "${!layers[@]}"; do mkdir "$T/old/$i" && cp -L "$T/old/x/${layers[$i]}" "$T/old/$i/layer.tar"; done
mv "$T/old/0/layer.tar" "$T/old/aa" && ln -s ../aa/layer.tar "$T/old/0/layer.tar" && rm -r "$T/old/x"
echo '[{"Config":"config.json","RepoTags":["web:latest"],"Layers":["0/layer.tar","1/layer.tar","2/layer.tar"]}]' \
  >"$T/old/manifest.json"
tar cf "$T/old.tar" -C "$T/old" .
for program in gzip zstd xz; do
  "$program" -c "$T/old.tar" >"$T/packed"
  same "docker-archive:$T/packed:web"
done
gzip -c "$T/old.tar" | gantry-inspect --config docker-archive:/dev/stdin:@0 | cmp - "$T/old/config.json" || fail pipe

expect_exit 4 gantry-convert "docker-archive:$T/old.tar" "oci:$T/copy:v1"
printf '{"default":[{"type":"reject"}],"transports":{"docker-archive":{"":[{"type":"insecureAcceptAnything"}]}}}' >"$policy"
expect_exit 0 gantry-verify "docker-archive:$T/old.tar"
expect_exit 0 gantry-convert "docker-archive:$T/old.tar" "oci:$T/copy:v1"
same "oci:$T/copy:v1"
expect_exit 0 gantry-convert "docker-archive:$T/skopeo.tar" "aci:$T/a.aci"
tar xzOf "$T/a.aci" manifest | grep -q '"name":"example.com/web"' || fail "the ACI is not named as the archive says"
expect_exit 3 gantry-inspect "docker-archive:$T/old.tar:other"
expect_text docker.io/library/web:latest "$T/err"
