# HTTP/2 where TLS offers it: an image goes through nginx into a registry and comes back. Large bodies of ours go by
# HTTP/1.1, and one connection serves many requests.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need nginx openssl
start_registry
make_busybox_image "$T/layout" v1
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$T/key" -out "$T/crt" 2>"$T/openssl" || fail "$(cat "$T/openssl")"
start_proxy https \
  "log_format protocol '\$connection \$server_protocol \$request_method \$request_uri'; access_log $T/seen protocol;
    client_max_body_size 0;" \
  "ssl_certificate $T/crt; ssl_certificate_key $T/key;" \
  'proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;'
export SSL_CERT_FILE=$T/crt
forget "$T/seen"

expect_exit 0 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://127.0.0.1:$port/box:v1"
expect_text 'HTTP/2.0 HEAD /v2/box/blobs/' "$T/seen"
expect_text 'HTTP/1.1 PUT /v2/box/blobs/uploads/' "$T/seen"
expect_soon 'HTTP/2.0 PUT /v2/box/manifests/' "$T/seen"
forget "$T/seen"
expect_exit 0 gantry-fetch -q --insecure-options=image "docker://127.0.0.1:$port/box:v1"
! grep -v 'HTTP/2.0 ' "$T/seen" || fail "not by HTTP/2"
[ "$(cut -d' ' -f1 "$T/seen" | sort -u | wc -l)" = 1 ] || fail "more than one connection: $(cat "$T/seen")"
[ "$(wc -l <"$T/seen")" -ge 3 ] || fail "few requests: $(cat "$T/seen")"
gantry-store check
