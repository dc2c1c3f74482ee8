# What gantry-serve refuses on its command line, and what it refuses of clients.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
registry=127.0.0.1:1
expect_exit 2 gantry-serve
expect_text 'no upstream' "$T/err"
expect_exit 2 gantry-serve --upstream "$registry"
expect_exit 2 gantry-serve --upstream docker://a.test --upstream docker://b.test
expect_exit 2 gantry-serve --upstream docker://a.test --listen 0.0.0.0:0
expect_text 'anyone on the way' "$T/err"
expect_exit 2 gantry-serve --upstream docker://a.test --tls-cert "$T/x"
expect_exit 2 gantry-serve --upstream docker://a.test --listen here
expect_exit 2 gantry-serve --upstream docker://a.test --url 'https://a"b'
expect_exit 3 gantry-serve --upstream docker://a.test --listen 127.0.0.1:0 --cache "$T/c" --sign-key nobody@example.com
expect_exit 3 gantry-serve --upstream docker://a.test --listen 127.0.0.1:0 --cache "$T/c" --basic "$T/none"
accept_anything
expect_exit 0 gantry-serve --upstream docker://a.test --print-confinement --cache "$T/none"
expect_text '^executes: nothing$' "$T/out"
expect_text '^network: none$' "$T/out"
! grep -q . "$T/err" || fail "a warning: $(cat "$T/err")"
expect_exit 0 gantry-serve --upstream docker://a.test --print-confinement --cache "$T/none" --listen :0 --plain
expect_text 'give --url' "$T/err"
start_server --stall 2
expect_status 502 "$(aci_url box v1)"
expect_status 404 "http://$server/v2/UPPER/manifests/v1"
expect_status 404 "http://$server/v2/a/../../b/manifests/v1" --path-as-is
expect_status 404 "http://$server/v2/box/manifests/%0a"
expect_status 404 "http://$server/v2/box@sha256:x/manifests/v1"
expect_status 404 "http://$server/evil.test%2fx-v1-linux-amd64.aci%00"

# What a header's number cannot hold ends no server.
expect_status 416 "http://$server/healthz" -H "Range: bytes=$(printf '9%.0s' {1..26})-"

# What follows a body is no request: a proxy before this server might have taken it for the body of somebody else's.
for header in 'Content-Length: 40\r\n' 'Content-Length: 0\r\nContent-Length: 40\r\n' 'Content-Length: 40\n' \
  'Transfer-Encoding: chunked\n' 'Content-Length : 40\r\n' 'Content-Length\0: 40\r\n' 'Content-Length:\r\n' \
  'Transfer-Encoding:\r\n' 'Transfer-Encoding:\r\n chunked\r\n' 'Content-Length: %%30\r\n'; do
  exec 3<>"/dev/tcp/${server/://}"
  # shellcheck disable=SC2059  # it is a format
  printf "GET /healthz HTTP/1.1\r\nHost: x\r\n$header\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" >&3
  timeout 5 cat <&3 >"$T/answers" || true
  [ "$(grep -ac '^HTTP/' "$T/answers")" = 1 ] && grep -q '^HTTP/1.1 400 ' "$T/answers" ||
    fail "a body was a request, $header: $(cat "$T/answers")"
done
expect_status 200 "http://$server/healthz"
# The log has every request, as text.
expect_status 404 "http://$server/%ff%0a"
expect_soon '"client":"127.0.0.1","method":"GET","path":"/%ff%0a","status":404' "$server_log"
# A client that says nothing is gone after a while, and stops nobody.
exec 4<>"/dev/tcp/${server/://}"
printf 'GET /hea' >&4
timeout 10 cat <&4 >"$T/answers" || fail "it waits for ever"
