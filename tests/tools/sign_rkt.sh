# The library that rkt verifies with takes the signatures that gantry makes for ACIs and the key files that gantry trust
# writes, for every kind of key that it knows; of a changed file it takes none.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need go gpg
[ -d /usr/share/gocode/src/golang.org/x/crypto/openpgp ] || skip "golang-golang-x-crypto-dev is not installed"

cd "$T"
GO111MODULE=off GOFLAGS='' GOPATH=/usr/share/gocode GOCACHE=$T/cache go build -o rkt_verify \
  "$GANTRY_SOURCE_DIR/tests/support/rkt_verify.go"
accept_anything
mkdir root && echo hello >root/hello
make_image layout v1 '{"Cmd":["/hello"]}' root
expect_exit 0 gantry convert -q oci:layout:v1 aci:app.aci --name example.com/app
cp app.aci changed.aci && printf x >>changed.aci
printf '{"default":[{"type":"reject"}]}' >"$policy"
for kind in rsa3072 nistp256 dsa2048; do
  gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key "$kind@gantry.example" "$kind" sign never 2>gpg.err
  key=$(gpg --with-colons --list-keys "$kind@gantry.example" | awk -F: '$1 == "fpr" {print $10; exit}')
  gpg --export "$key" >"$kind.gpg"
  expect_exit 0 gantry trust add -q --yes --prefix example.com/app "$kind.gpg"
  file=$XDG_CONFIG_HOME/gantry/trustedkeys/prefix.d/example.com/app/${key,,}
  expect_exit 0 gantry sign -q --key "$key" aci:app.aci
  expect_exit 0 ./rkt_verify "$file" app.aci.asc app.aci
  expect_text "^$key\$" out
  expect_exit 1 ./rkt_verify "$file" app.aci.asc changed.aci
  rm app.aci.asc
  gpg -q --batch --local-user "$key" --detach-sign --output app.aci.asc app.aci
  expect_exit 0 ./rkt_verify "$file" app.aci.asc app.aci
  expect_exit 0 gantry verify aci:app.aci
  expect_text "appcSigned $key" out
  rm app.aci.asc
done
