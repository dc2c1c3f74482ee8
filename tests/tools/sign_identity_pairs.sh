# One identity attestation, made in a registry, holds after a conversion from every format to every other one, squashed or
# not and compressed anew; it goes along by itself as long as the formats have a place for it; and for an image of which a
# byte or a setting was changed it holds in none of them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=
cd "$T"
gantry keygen -q --output release >/dev/null
mkdir root more && echo hello >root/hello && echo more >more/file && ln -s hello root/link
make_image layout v1 '{"Cmd":["/hello"],"Env":["A=b"]}' root more
start_registry
push layout:v1 app:v1
name=$registry/app:v1
printf '{"default":[{"type":"identitySigned","keyPath":"%s","signedIdentity":{"type":"exactReference","dockerReference":"%s"}}]}' \
  "$T/release.pub" "$name" >"$policy"
expect_exit 0 gantry sign --identity --key release.key "docker://$name"

# docker:// -> ACI -> OCI zstd -> docker:// -> store, by the policy alone.
expect_exit 0 gantry convert -q "docker://$name" aci:app.aci
expect_exit 0 gantry convert -q --compress zstd aci:app.aci oci:zstd:v1
expect_exit 0 gantry convert -q --squash oci:zstd:v1 "docker://$registry/squashed:v1"
expect_exit 0 gantry verify "docker://$registry/squashed:v1"
expect_exit 0 gantry convert -q "docker://$registry/squashed:v1" store:squashed:v1
expect_exit 0 gantry verify squashed:v1
attestation=$(echo zstd/signatures/*/signature-1)

# place FORM ID: where an image of that form goes.
place() {
  case $1 in
    docker) echo "docker://$registry/$2:v1" ;;
    store) echo "store:$2:v1" ;;
    oci) echo "oci:$2:v1" ;;
    aci) echo "aci:$2.aci" ;;
    *) echo "$1:$2.tar" ;;
  esac
}
# judge CODE PLACE: with the attestation in the lookaside, for archives have no place of their own.
judge() {
  local digest
  digest=$(gantry verify --json --as "$name" "$2" | jq -r .digest) || :
  mkdir -p "sigstore/app@${digest/:/=}" && cp "$attestation" "sigstore/app@${digest/:/=}/signature-1"
  expect_exit "$1" gantry verify --as "$name" "$2"
}
forms=(docker store oci aci oci-archive docker-archive)
convert() { expect_exit 0 gantry convert -q --insecure-options=image "$@"; }
squash=()
for from in "${forms[@]}"; do
  convert oci:layout:v1 "$(place "$from" "from-$from")"
  for to in "${forms[@]}"; do
    convert ${squash[@]+"${squash[@]}"} "$(place "$from" "from-$from")" "$(place "$to" "$from-to-$to")"
    judge 0 "$(place "$to" "$from-to-$to")"
    if [ ${#squash[@]} = 0 ] && [ "$to" != aci ]; then squash=(--squash); else squash=(); fi
  done
done
echo mere >more/file
make_image changed v1 '{"Cmd":["/hello"],"Env":["A=b"]}' root more
make_image other v1 '{"Cmd":["/hello"],"Env":["A=c"]}' root
for to in "${forms[@]}"; do
  for image in changed other; do
    convert "oci:$image:v1" "$(place "$to" "$image-in-$to")"
    judge 4 "$(place "$to" "$image-in-$to")"
    expect_text 'another image' err
  done
done
