# gantry keygen: each kind of key, the passphrase by environment, file, standard input and terminal, nothing overwritten, and
# openssl reads what it writes.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need openssl expect
cd "$T"

for kind in ecdsa-p256 ecdsa-p384 ecdsa-p521 rsa ed25519; do
  COSIGN_PASSWORD=pass expect_exit 0 gantry keygen --kind "$kind" --output "$T/$kind"
  expect_text "^sha256:$(openssl pkey -pubin -in "$kind.pub" -outform DER | sha256sum | cut -d' ' -f1)  " "$T/out"
  expect_text 'BEGIN ENCRYPTED SIGSTORE PRIVATE KEY' "$kind.key"
done
[ "$(stat -c %a rsa.key)" = 600 ] || fail "others can read the private key"
COSIGN_PASSWORD='' expect_exit 2 gantry keygen --output "$T/rsa"
expect_text "rsa.key' exists" "$T/err"
expect_exit 2 gantry keygen --kind dsa

echo secret >word
expect_exit 0 gantry keygen --format pkcs8 --passphrase-file word --output "$T/file"
openssl pkey -in file.key -passin pass:secret -pubout | cmp - file.pub || fail "openssl does not read it"
expect_exit 0 gantry keygen --format pkcs8 --passphrase-file - --output stdin <word
openssl pkey -in stdin.key -passin pass:secret -pubout | cmp - stdin.pub || fail "not under the passphrase of stdin"
expect -c 'log_user 0; spawn gantry keygen --format pkcs8 --output terminal
  expect "passphrase of the new key: "; send "secret\r"; expect "the same again: "; send "secret\r"; expect eof' ||
  fail "the terminal is not asked"
openssl pkey -in terminal.key -passin pass:secret -pubout | cmp - terminal.pub || fail "not what was typed"
