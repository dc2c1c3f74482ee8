#!/bin/bash
# Every format converts into every other one, itself included: what comes out is the same image, by its identity, and
# its configuration has the same bytes, or in an ACI, which has one layer, all that is not about layers.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
start_registry
make_busybox_image "$T/img" v1
export GANTRY_POLICY=$T/anything
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$GANTRY_POLICY"
convert() { gantry-convert -q "$@" >"$T/out" 2>"$T/err" || fail "$*: $(cat "$T/err")"; }

# place FORMAT NAME: how an image is called there.
place() {
  case $1 in
    docker) echo "docker://$registry/pairs/$2:v1" ;;
    oci) echo "oci:$T/$2.oci:v1" ;;
    oci-archive) echo "oci-archive:$T/$2.oci.tar:v1" ;;
    docker-archive) echo "docker-archive:$T/$2.docker.tar:example.com/pairs:v1" ;;
    aci) echo "aci:$T/$2.aci" ;;
    store) echo "store:example.com/$2:v1" ;;
  esac
}
formats=(docker oci oci-archive docker-archive aci store)
identity=$(gantry-inspect -q --identity "oci:$T/img:v1")
config() { gantry-inspect --config "oci:$T/$1" | if [ "$2" = layers ]; then cat; else jq -cS 'del(.rootfs, .history)'; fi; }

for format in "${formats[@]}"; do
  convert "oci:$T/img:v1" "$(place "$format" source)"
done
for from in "${formats[@]}"; do
  for to in "${formats[@]}"; do
    name=$from-to-$to
    convert "$(place "$from" source)" "$(place "$to" "$name")"
    # Through a layout: inspect does not go to the network.
    convert "$(place "$to" "$name")" "oci:$T/seen:$name"
    [ "$(gantry-inspect -q --identity "oci:$T/seen:$name")" = "$identity" ] || fail "$name: another image"
    [[ $name = *aci* ]] && about=all-else || about=layers
    [ "$(config "seen:$name" $about)" = "$(config img:v1 $about)" ] || fail "$name: another configuration"
  done
done
