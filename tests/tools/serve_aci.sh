# gantry-serve makes an App Container Image of what a registry has: by the name of appc, in one answer that begins before
# the conversion ends, from the cache when it is there; the same as gantry-convert makes, and what actool takes.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo jq
registry_with_busybox org/box:v1
accept_anything
start_server

expect_status 200 "$(aci_url org/box v1)"
expect_text 'Transfer-Encoding: chunked' "$T/headers"
cp "$T/body" "$T/box.aci"
tar -xOzf "$T/box.aci" manifest >"$T/manifest"
[ "$(jq -r .name "$T/manifest")" = 127.0.0.1/org/box ] || fail "named $(jq -r .name "$T/manifest")"
[ "$(jq -r '.labels[] | select(.name == "version") | .value' "$T/manifest")" = v1 ] || fail "no version"
expect_exit 0 gantry-convert --insecure-options=image --name 127.0.0.1/org/box "docker://$registry/org/box:v1" "aci:$T/want.aci"
cmp "$T/want.aci" "$T/box.aci" || fail "not what gantry-convert makes"
! command -v actool >/dev/null || expect_exit 0 actool validate "$T/box.aci"

# From the cache: whole, in parts, and not at all for who has it; upstream is not asked.
forget "$registry_log"
expect_status 200 "$(aci_url org/box v1)"
cmp "$T/body" "$T/box.aci" || fail "the second answer differs"
expect_text "Content-Length: $(stat -c%s "$T/box.aci")" "$T/headers"
etag=$(sed -n 's/^ETag: \(.*\)\r$/\1/p' "$T/headers")
[[ $etag =~ ^\"sha512-[0-9a-f]{128}\"$ ]] || fail "ETag $etag"
expect_status 304 "$(aci_url org/box v1)" -H "If-None-Match: $etag"
expect_status 206 "$(aci_url org/box v1)" -r 1000-1999
cmp <(tail -c +1001 "$T/box.aci" | head -c 1000) "$T/body" || fail "another part"
expect_status 206 "$(aci_url org/box v1)" -r -10 -H "If-Range: $etag"
cmp <(tail -c 10 "$T/box.aci") "$T/body" || fail "another end"
expect_status 206 "$(aci_url org/box v1)" -r 5-99999999
cmp <(tail -c +6 "$T/box.aci") "$T/body" || fail "another rest"
expect_status 206 "$(aci_url org/box v1)" -r -99999999
cmp "$T/box.aci" "$T/body" || fail "another whole"
expect_status 200 "$(aci_url org/box v1)" -r 0-9,20-29
expect_status 200 "$(aci_url org/box v1)" -r 0-9 -H 'If-Range: "other"'
expect_status 416 "$(aci_url org/box v1)" -r 99999999-
[ ! -s "$registry_log" ] || fail "upstream was asked: $(cat "$registry_log")"

# A client that could not tell a part from the whole waits for the whole.
push "$T/layout:v1" org/box:v3
expect_status 200 "$(aci_url org/box v3)" --http1.0
expect_text "Content-Length: $(stat -c%s "$T/body")" "$T/headers"
gzip -t <"$T/body" || fail "HTTP/1.0 got something else"

# Without the version beside it, by the path alone, and with the host in it.
expect_status 200 "http://$server/127.0.0.1/org/box-v1-linux-amd64.aci"
cmp "$T/body" "$T/box.aci" || fail "another by the path"
expect_status 200 "http://127.0.0.1/org/box-v1-linux-amd64.aci" -x "http://$server" --noproxy ''
cmp "$T/body" "$T/box.aci" || fail "another for who takes it for a proxy"
expect_status 404 "$(aci_url org/box v2)"
expect_status 404 "$(aci_url org/none v1)"
expect_status 404 "http://$server/org/box-v1-plan9-amd64.aci"
expect_status 404 "http://$server/../../etc/passwd" --path-as-is
expect_status 405 "$(aci_url org/box v1)" -X POST -d x
expect_soon '"status":404' "$server_log"
