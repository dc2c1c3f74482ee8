# appc discovery (appc spec, discovery.md) against gantry-serve: a client that knows only a name finds template and keys
# in the page, the signature beside the image, and both fit. Over TLS, whose certificate is read again on SIGHUP.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo gpg openssl
registry_with_busybox org/my-box:1.0-rc1
accept_anything
make_gpg_key server
certify() {
  openssl req -x509 -newkey ed25519 -nodes -keyout "$T/tls.key" -out "$T/tls.pem" -days 2 -subj "/CN=$1" \
    -addext 'subjectAltName=DNS:images.test' 2>/dev/null
}
certify first
start_server --tls-cert "$T/tls.pem" --tls-key "$T/tls.key" --sign-key "$fingerprint" \
  --url "https://images.test:8443"
client=(--cacert "$T/tls.pem" --connect-to "::$server")

# The client: meta tags, keys, template (appc spec, "Meta Discovery").
name=images.test/org/my-box
expect_status 200 "https://$name?ac-discovery=1" "${client[@]}"
meta() { sed -n "s/.*<meta name=\"$1\" content=\"\([^ ]*\) \(.*\)\">.*/\1 \2/p" "$T/body"; }
read -r prefix template <<<"$(meta ac-discovery)"
read -r key_prefix keys <<<"$(meta ac-discovery-pubkeys)"
[[ $name == "$prefix"* && $name == "$key_prefix"* ]] || fail "prefixes $prefix, $key_prefix"
render() { sed "s|{name}|$name|g; s|{version}|1.0-rc1|g; s|{os}|linux|g; s|{arch}|amd64|g; s|{ext}|$1|g" <<<"$template"; }
expect_status 200 "$keys" "${client[@]}"
mkdir -m 0700 "$T/client"
gpg -q --homedir "$T/client" --import "$T/body" 2>/dev/null
expect_status 200 "$(render aci.asc)" "${client[@]}"
cp "$T/body" "$T/box.aci.asc"
expect_status 200 "$(render aci)" "${client[@]}"
cp "$T/body" "$T/box.aci"
expect_exit 0 gpg --homedir "$T/client" --trust-model always --verify "$T/box.aci.asc" "$T/box.aci"
tar -xOzf "$T/box.aci" manifest | grep -q "\"name\":\"$name\"" || fail "the manifest has another name"

# rkt asks for the file by the name alone first ("Simple Discovery"); a client that finds no page at a name asks its parents.
push "$T/layout:1.0-rc1" org/my-box:2
for file in aci.asc aci; do
  expect_status 200 "https://$name-2-linux-amd64.$file" "${client[@]}"
  cp "$T/body" "$T/simple.$file"
done
expect_exit 0 gpg --homedir "$T/client" --trust-model always --verify "$T/simple.aci.asc" "$T/simple.aci"
for parent in images.test/org images.test; do
  expect_status 200 "https://$parent?ac-discovery=1" "${client[@]}"
  [ "$(meta ac-discovery)" = "$prefix $template" ] || fail "another page at $parent"
done

certify second
kill -HUP "$server_pid"
has_second() {
  openssl s_client -connect "$server" </dev/null >"$T/seen" 2>/dev/null || true
  grep -q 'subject=CN = second' "$T/seen"
}
await has_second || fail "the certificate of before"
