# The policy is asked about what comes in: what it refuses is 403 with the explanation, for each kind of client, and after
# SIGHUP what was there already is asked about anew.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo jq
registry_with_busybox box:v1
start_server

expect_status 403 "$(aci_url box v1)"
expect_text "box:v1' is refused: " "$T/body"
expect_status 403 "http://$server/v2/box/manifests/v1"
[ "$(jq -r '.errors[0].code' "$T/body")" = DENIED ] || fail "another error: $(cat "$T/body")"
expect_text 'is refused' "$T/body"
! grep -q "GET /v2/box/blobs" <(grep -v "$(gantry-inspect --raw "oci:$T/layout:v1" | jq -r .config.digest)" "$registry_log") ||
  fail "layers were fetched before the decision"
expect_soon '"error":"image .*is refused' "$server_log"

accept_anything
expect_status 200 "$(aci_url box v1)"
expect_status 200 "http://$server/v2/box/manifests/v1"
layer=$(jq -r '.layers[0].digest' "$T/body")
expect_status 200 "http://$server/v2/box/blobs/$layer"
expect_status 404 "http://$server/v2/other/blobs/$layer"

printf '{"default":[{"type":"reject"}]}\n' >"$policy"
reload_server
expect_status 403 "http://$server/v2/box/blobs/$layer"
expect_status 403 "$(aci_url box v1)"
expect_status 403 "http://$server/v2/box/manifests/v1"
