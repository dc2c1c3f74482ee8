# gantry-convert streams into a registry: recompressed and squashed layers without a file, and layers of more than one
# chunk; skopeo reads what came out, and the layers have the diff IDs of the configuration.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo openssl zstd
start_registry
mkdir -p "$T/tree/etc"
openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c 20000000 >"$T/tree/random" || :
echo one >"$T/tree/etc/one"
make_image "$T/layout" v1 '{"Cmd":["/x"]}' "$T/tree"
convert() { expect_exit 0 gantry-convert -q --insecure-options=image "$@"; }

convert "oci:$T/layout:v1" "docker://$registry/a:gzip"
convert --compress zstd "docker://$registry/a:gzip" "docker://$registry/a:zstd"
convert --squash --compress none "docker://$registry/a:gzip" "docker://$registry/b/squashed:v1"
convert --format docker "docker://$registry/a:gzip" "docker://$registry/a:docker"
expect_soon PATCH "$registry_log"

for name in a:gzip a:zstd a:docker b/squashed:v1; do
  rm -rf "$T/back"
  skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/$name" "dir:$T/back"
  layer=$(grep -o '"size":[0-9]*' "$T/back/manifest.json" | cut -d: -f2 | sort -n | tail -1)
  layer=$(find "$T/back" -size "${layer}c" -not -name '*.json')
  case $name in
    a:zstd) zstd -dc <"$layer" ;;
    b/*) cat "$layer" ;;
    *) gzip -dc "$layer" ;;
  esac | sha256sum >"$T/sum"
  skopeo inspect --tls-verify=false --config --raw "docker://$registry/$name" >"$T/config"
  expect_text "$(cut -d' ' -f1 "$T/sum")" "$T/config"
done

# A layer that is not what its digest says is pushed under no name.
spoil "$(find "$T/layout/blobs" -size +1M)" 9000000
expect_exit 5 gantry-convert -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/c:bad"
expect_exit 1 skopeo inspect --raw --tls-verify=false "docker://$registry/c:bad"
