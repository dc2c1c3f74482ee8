#!/bin/bash
# A layer that umoci insert made, whose archive ends with the content of its last file: it converts, is unpacked and has
# an identity; one byte less, and it is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need umoci jq

mkdir -p "$T/tree" "$T/added"
echo base >"$T/tree/base"
make_image "$T/img" v1 '{"Cmd":["/x"]}' "$T/tree"
head -c 700 /dev/zero | tr '\0' x >"$T/added/last"
umoci insert --image "$T/img:v1" "$T/added/last" /last >/dev/null 2>&1
blob() { echo "$T/img/blobs/sha256/$(gantry-inspect --raw "oci:$T/img:v1" | jq -r "$1" | cut -d: -f2)"; }
gzip -dc "$(blob '.layers[-1].digest')" >"$T/tar"
[ $(($(stat -c%s "$T/tar") % 512)) != 0 ] || skip 'this umoci ends its archives with whole records'

echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$policy"
expect_exit 0 gantry-inspect -q --identity "oci:$T/img:v1"
identity=$(cat "$T/out")
expect_exit 0 gantry-convert -q "oci:$T/img:v1" "aci:$T/img.aci"
tar -xOf "$T/img.aci" rootfs/last | cmp - "$T/added/last" || fail 'another content in the ACI'
expect_exit 0 gantry-convert -q --squash --json "oci:$T/img:v1" "oci:$T/one:v1"
[ "$(jq -r .identity "$T/out")" = "$identity" ] || fail 'another identity'
umoci unpack --image "$T/img:v1" "$T/bundle" >/dev/null 2>&1
make_image "$T/again" v1 '{"Cmd":["/x"]}' "$T/bundle/rootfs"
[ "$(gantry-inspect -q --identity "oci:$T/again:v1")" = "$identity" ] || fail 'umoci sees another tree'

# What lacks content is refused, although all digests are right.
head -c -1 "$T/tar" | gzip -n >"$T/cut"
diff_id=sha256:$(head -c -1 "$T/tar" | sha256sum | cut -d' ' -f1)
size=$(stat -c%s "$T/cut")
layer=$(put_blob "$T/img" "$T/cut")
jq -jc --arg d "$diff_id" '.rootfs.diff_ids[-1] = $d' "$(blob .config.digest)" >"$T/config"
config_size=$(stat -c%s "$T/config")
gantry-inspect --raw "oci:$T/img:v1" | jq -jc --arg l "$layer" --argjson s "$size" --arg c "$(put_blob "$T/img" "$T/config")" \
  --argjson t "$config_size" '.layers[-1].digest = $l | .layers[-1].size = $s | .config.digest = $c | .config.size = $t' >"$T/manifest"
size=$(stat -c%s "$T/manifest")
jq -jc --arg d "$(put_blob "$T/img" "$T/manifest")" --argjson s "$size" '.manifests[0].digest = $d | .manifests[0].size = $s |
  .manifests |= .[0:1]' "$T/img/index.json" >"$T/index" && mv "$T/index" "$T/img/index.json"
expect_exit 5 gantry-convert -q "oci:$T/img" "aci:$T/cut.aci"
expect_text "last.*[Tt]runcated" "$T/err"
[ ! -e "$T/cut.aci" ] || fail 'left something'
