# What is in the cache outlives the server, and a registry that is gone: the policy is asked about it before it is served, and
# upstream only for what the name leads to. A name that moves leads to the new image.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo gpg jq
registry_with_busybox box:v1
accept_anything
make_gpg_key server
start_server --cache "$T/cache" --sign-key "$fingerprint"
expect_status 200 "$(aci_url box v1 | sed 's/aci?/aci.asc?/')"
expect_status 200 "$(aci_url box v1)"
cp "$T/body" "$T/box.aci"
expect_status 200 "http://$server/v2/box--squashed/manifests/v1"
cp "$T/body" "$T/squashed"
stop_server

forget "$registry_log"
start_server --cache "$T/cache" --fresh 0 --sign-key "$fingerprint"
expect_status 200 "$(aci_url box v1)"
cmp "$T/body" "$T/box.aci" || fail "another image after a new start"
expect_status 200 "$(aci_url box v1 | sed 's/aci?/aci.asc?/')"
expect_exit 0 gpg --verify "$T/body" "$T/box.aci"
expect_status 200 "http://$server/v2/box--squashed/manifests/v1"
cmp "$T/body" "$T/squashed" || fail "another form after a new start"
expect_soon 'GET /v2/box/manifests/v1' "$registry_log"
layers=$(gantry-inspect --raw "oci:$T/layout:v1" | jq -r '.layers[].digest')
for layer in $layers; do
  ! grep -q "GET /v2/box/blobs/$layer" "$registry_log" || fail "fetched again: $layer"
done

mkdir "$T/new"
echo new >"$T/new/file"
make_image "$T/layout" v2 '{"Cmd":["new"]}' "$T/new"
push "$T/layout:v2" box:v1
expect_status 200 "$(aci_url box v1)"
! cmp -s "$T/body" "$T/box.aci" || fail "the name moved, and nobody saw it"
cp "$T/body" "$T/box.aci"

# Another key signs anew what the first one signed.
make_gpg_key other
stop_server
start_server --cache "$T/cache" --fresh 0 --sign-key "$fingerprint"
expect_status 200 "$(aci_url box v1 | sed 's/aci?/aci.asc?/')"
expect_exit 0 gpg --status-fd 1 --verify "$T/body" "$T/box.aci"
expect_text "VALIDSIG $fingerprint" "$T/out"

# Upstream is gone.
kill "${started_pids[0]}"
wait "${started_pids[0]}" || :
expect_status 200 "$(aci_url box v1)"
cmp "$T/body" "$T/box.aci" || fail "another image without upstream"
expect_status 502 "$(aci_url box v3)"
reload_server
expect_status 502 "$(aci_url box v1)"
