# What only an image can be, an artifact is refused with exit 7, 125 by gantry run, and a word on what it is: it never runs,
# becomes no ACI and no Docker archive, gets no other layers, and has no identity; nothing is left behind.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
accept_anything
cd "$T"
echo one >one.txt && mkdir tree && echo text >tree/file
make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt >/dev/null
expect_exit 0 gantry convert oci:layout:v1 store:localhost/a:v1
refused() {
  local code=7
  [ "$2" != run ] || [ "$3" = prepare ] || code=125
  expect_exit "$code" "$@"
  expect_text "no image but an artifact, of type 'application/vnd.example.v1'" "$T/err"
  [ ! -e none ] && [ ! -e none.aci ] && [ ! -e none.tar ] || fail "left: $(ls)"
}
start_registry
expect_exit 0 gantry push oci:layout:v1 "docker://$registry/team/a:v1"
for name in localhost/a:v1 oci:layout:v1 "docker://$registry/team/a:v1"; do
  refused gantry run "$name"
  refused gantry run prepare "$name"
  refused gantry convert "$name" aci:none.aci
  refused gantry convert --layers "$name" aci:none
  refused gantry convert "$name" docker-archive:none.tar
  refused gantry convert --compress zstd "$name" oci:none
  refused gantry convert --squash "$name" oci:none
  refused gantry convert --format docker "$name" oci:none
  refused gantry convert --all --format docker "$name" oci:none
  refused gantry convert --all "$name" docker-archive:none.tar
  refused gantry inspect --identity "$name"
  refused gantry diff "$name" "$name"
done

# One that is not here is refused by its manifest: none of its blobs is asked for, whatever the policy says.
export GANTRY_ROOT=$T/empty
forget "$registry_log"
refused gantry run "docker://$registry/team/a:v1"
refused gantry run -d "docker://$registry/team/a:v1"
refused gantry run prepare "docker://$registry/team/a:v1"
refused gantry build begin "docker://$registry/team/a:v1"
refused gantry diff "docker://$registry/team/a:v1" oci:layout:v1
expect_soon 'GET /v2/team/a/manifests/' "$registry_log"
! grep 'GET /v2/team/a/blobs/' "$registry_log" || fail "its blobs were fetched"
expect_exit 0 gantry store list
[ "$(wc -l <"$T/out")" = 1 ] || fail "it has a name: $(cat "$T/out")"
export GANTRY_ROOT=$T/store

gantry keygen -q --output key --passphrase-file <(echo pass) >/dev/null
refused gantry sign --key key.key --passphrase-file <(echo pass) --identity --as docker://localhost/a:v1 oci:layout:v1
refused gantry build begin localhost/a:v1

# An image that says it is an artifact is one, and so is one whose configuration says so while its layers run.
make_image "$T/image" v1 '{"Cmd":["/file"]}' tree
for change in '.artifactType = "application/vnd.example.v1"' '.config.mediaType = "application/vnd.example.v1"'; do
  gantry inspect --raw oci:image:v1 | jq -jc "$change" >manifest
  size=$(stat -c%s manifest)
  digest=$(put_blob "$T/image" manifest)
  jq --arg d "$digest" --argjson n "$size" '.manifests[0] |= (.digest = $d | .size = $n | .annotations = {"org.opencontainers.image.ref.name": "changed"})' image/index.json >index
  cp -r image changed && mv index changed/index.json
  refused gantry run oci:changed:changed
  refused gantry convert oci:changed:changed docker-archive:none.tar
  rm -r changed
done
expect_exit 0 gantry store check
