# What a hostile host can make of discovery: no image that its signer did not sign under the name that was asked for, no way
# from https to http, no page without end.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
in_namespaces_of_its_own -rmn
need gpg openssl ip
ip link set lo up
printf '127.0.0.1 evil.test\n' >"$T/hosts"
mount --bind "$T/hosts" /etc/hosts
make_busybox_image "$T/layout" 1.0
make_gpg_key signer
expect_exit 0 gantry-trust add --yes --prefix evil.test/app "$T/signer.pub.gpg"
openssl req -x509 -newkey ed25519 -nodes -keyout "$T/tls.key" -out "$T/tls.pem" -days 2 -subj /CN=evil.test \
  -addext 'subjectAltName=DNS:evil.test' 2>/dev/null
export SSL_CERT_FILE=$T/tls.pem
mkdir "$T/web"
cd "$T/web"
# Files are whole answers, named by path and query.
openssl s_server -quiet -accept 127.0.0.1:443 -cert "$T/tls.pem" -key "$T/tls.key" -HTTP >"$T/web.log" 2>&1 &
started_pids+=($!)
until openssl s_client -connect 127.0.0.1:443 </dev/null >/dev/null 2>&1; do sleep 0.05; done
answer() { { printf 'HTTP/1.0 %s\r\nContent-Length: %s\r\n\r\n' "${3:-200 OK}" "$(stat -c%s "$2")"; cat "$2"; } >"$1"; }
meta() { printf '<meta name="ac-discovery" content="%s %s">' "$1" "$2"; }
page() { cat >"$T/page" && answer "$1?ac-discovery=1" "$T/page"; }
template='https://evil.test/{name}.{ext}'
refused() { # WANT NAME
  expect_exit "$1" gantry-fetch "appc:evil.test/$2"
  [ -z "$(ls "$GANTRY_ROOT/aci")" ] || fail "kept: $(ls "$GANTRY_ROOT/aci")"
}
mkdir evil.test
publish() { # FILE: what is signed as FILE.asc
  gantry-convert --insecure-options=image --name evil.test/app "oci:$T/layout:$1" "aci:$T/$1.aci" >/dev/null
  gantry-sign --key "$fingerprint" "aci:$T/$1.aci" >/dev/null
}
publish 1.0
mkdir "$T/tree" && echo other >"$T/tree/file"
make_image "$T/layout" other '{"Cmd":["x"]}' "$T/tree"
publish other

# The image and the signature of another; none; an image by another name.
meta evil.test/app "$template" | page app
answer evil.test/app.aci "$T/1.0.aci"
answer evil.test/app.aci.asc "$T/other.aci.asc"
refused 4 app
printf x >"$T/none"
answer evil.test/app.aci.asc "$T/none" '404 Not Found'
refused 4 app
answer evil.test/app.aci.asc "$T/1.0.aci.asc"
expect_exit 0 gantry-fetch appc:evil.test/app

# An image on top of that one needs it here, under the key of its own name.
printf 'begin\nset-name evil.test/app/top\ndep add evil.test/app\nset-exec -- /bin/true\nwrite %s\n' "$T/top.aci" >"$T/top.acb"
gantry build --dependency "$T/1.0.aci" script "$T/top.acb" >/dev/null
gantry-sign --key "$fingerprint" "aci:$T/top.aci" >/dev/null
mkdir evil.test/app
for file in top.aci top.aci.asc; do answer "evil.test/app/$file" "$T/$file"; done
expect_exit 0 gantry-fetch appc:evil.test/app/top
rm "$GANTRY_ROOT"/aci/*
refused 3 app/top
expect_exit 0 gantry-fetch --insecure-options=image appc:evil.test/app
rm "$GANTRY_ROOT"/aci/*.asc
expect_exit 4 gantry-fetch appc:evil.test/app/top
expect_text "its dependency" "$T/err"
rm "$GANTRY_ROOT"/aci/*
meta evil.test "$template" | page ''
for file in app.aci app.aci.asc; do cp "evil.test/$file" "evil.test/apple${file#app}"; done
refused 5 apple
# A prefix ends with a component; a body's author says nothing; what is no template is none.
meta evil.test/app "$template" | page ''
refused 3 apple
{ echo '<html><head></head><body>'; meta evil.test "$template"; } | page ''
refused 3 apple
meta evil.test 'https://evil.test/{name}-{flavour}.{ext}' | page ''
refused 3 apple
# To plain http: by a template, by a redirect, of a page and of a file.
meta evil.test 'http://evil.test/{name}.{ext}' | page ''
refused 6 apple
printf 'HTTP/1.0 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n' >'?ac-discovery=1'
refused 6 apple
meta evil.test "$template" | page ''
printf 'HTTP/1.0 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n' >evil.test/apple.aci.asc
refused 6 apple
# Bombs.
for _ in $(seq 1001); do printf '<meta>'; done | page ''
refused 5 apple
{ printf '<!--'; head -c 2000000 /dev/zero | tr '\0' ' '; } | page ''
refused 5 apple
{ printf '<meta '; head -c 900000 /dev/zero | tr '\0' '<'; } | page ''
refused 3 apple
