# gantry-fetch finds an image by its appc name, and keeps it where its signature and a key for its name allow it: after that
# nobody needs the network, and the policy is asked each time.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
in_namespaces_of_its_own -rmn
need skopeo gpg openssl ip
ip link set lo up
printf '127.0.0.1 images.test\n' >"$T/hosts"
mount --bind "$T/hosts" /etc/hosts
start_registry
make_busybox_image "$T/layout" 1.0
push "$T/layout:1.0" org/box:1.0
accept_anything
make_gpg_key server
openssl req -x509 -newkey ed25519 -nodes -keyout "$T/tls.key" -out "$T/tls.pem" -days 2 -subj /CN=images.test \
  -addext 'subjectAltName=DNS:images.test' 2>/dev/null
cp "$policy" "$T/open.json"
GANTRY_POLICY=$T/open.json start_server --listen 127.0.0.1:443 --tls-cert "$T/tls.pem" --tls-key "$T/tls.key" \
  --sign-key "$fingerprint" --url https://images.test
printf '{"default":[{"type":"reject"}]}\n' >"$policy"
name=appc:images.test/org/box:1.0

expect_exit 6 gantry-fetch "$name"
export SSL_CERT_FILE=$T/tls.pem
expect_exit 4 gantry-fetch "$name"
expect_text 'gantry trust add' "$T/err"
expect_exit 0 gantry-trust add --yes --prefix images.test/or "$T/server.pub.gpg"
expect_exit 4 gantry-fetch "$name"
[ -z "$(ls "$GANTRY_ROOT/aci")" ] || fail "kept though refused: $(ls "$GANTRY_ROOT/aci")"
expect_exit 0 gantry-trust add --yes --prefix images.test/org "$T/server.pub.gpg"
expect_exit 3 gantry-fetch appc:images.test/org/box:2.0
expect_exit 3 gantry-fetch "$name,arch=aarch64,os=freebsd"
expect_exit 2 gantry-fetch --all "$name"
expect_exit 0 gantry-fetch "$name"
expect_text "^$name,os=linux,arch=[a-z0-9_]*@sha256:[0-9a-f]{64}\$" "$T/out"
kept=("$GANTRY_ROOT"/aci/*)
[ "${#kept[@]}" = 2 ] || fail "not a file and its signature: ${kept[*]}"
expect_exit 0 gantry-store check

# Without the network: the policy as it is now.
kill "$server_pid"
wait "$server_pid" || fail "it ended with $?"
expect_exit 0 gantry-convert "$name" "oci:$T/back:1"
expect_exit 0 gantry-verify "$name"
expect_exit 0 gantry-inspect "$name"
expect_exit 7 gantry-sign --key "$fingerprint" --as images.test/org/box:1.0 "$name"
expect_exit 3 gantry-inspect "appc:images.test/org/box:3.0"
expect_exit 6 gantry-fetch "$name"
expect_exit 0 gantry-trust remove --prefix images.test/org "$fingerprint"
expect_exit 4 gantry-convert "$name" "oci:$T/back:2"
expect_exit 0 gantry-convert --insecure-options=image "$name" "oci:$T/back:3"

# Over plain http only where that is asked for.
GANTRY_POLICY=$T/open.json start_server --listen 127.0.0.1:80 --sign-key "$fingerprint" --url http://images.test
expect_exit 6 gantry-fetch --insecure-options=image "$name"
expect_exit 0 gantry-fetch --insecure-options=image,http "$name"
