# Keys in a PKCS #11 token (SoftHSM) sign bare and with a certificate, several at once, by what OpenSSL has on this machine;
# the PIN comes from pin-source, a file, standard input or the environment, and a URI with the PIN in it is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util openssl

cd "$T"
module=$(find /usr/lib -name libsofthsm2.so -print -quit)
mkdir tokens root && echo hello >root/hello
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$T" >softhsm2.conf
export SOFTHSM2_CONF=$T/softhsm2.conf
softhsm2-util --init-token --free --label gantry --so-pin 0000 --pin 1234 >/dev/null
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out ec.pem
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null
for n in ec:01 rsa:02; do
  softhsm2-util --import "${n%:*}.pem" --token gantry --label "${n%:*}" --id "${n#*:}" --pin 1234 >/dev/null
  openssl pkey -in "${n%:*}.pem" -pubout -out "${n%:*}.pub"
done
printf 1234 >pin && printf 9999 >wrong && printf 1234 | tee pin2 >/dev/null
make_image layout v1 '{"Cmd":["/hello"]}' root
name=quay.io/org/app:v1
uri() { printf 'pkcs11:token=gantry;object=%s;type=private?module-path=%s%s' "$1" "$module" "${2:+&$2}"; }
sign() { local want=$1; shift; expect_exit "$want" gantry sign --as "$name" "$@" oci:layout:v1; }

probe=0
gantry sign --key "$(uri ec "pin-source=file:$T/pin")" --as "$name" oci:layout:v1 >out 2>err || probe=$?
[ "$probe" != 7 ] || skip "$(cat err)"
requirement='{"type":"sigstoreSigned","keyPath":"%s"}'
# shellcheck disable=SC2059 # the format is the requirement
printf "{\"default\":[$requirement,$requirement]}" "$T/ec.pub" "$T/rsa.pub" >"$policy"
sign 0 --key "$(uri ec "pin-source=file:$T/pin")"
expect_exit 4 gantry verify --as "$name" oci:layout:v1
sign 0 --form payload,bundle --key "$(uri ec "pin-source=$T/pin")" --key "$(uri rsa "pin-source=$T/pin")"
expect_exit 0 gantry verify --as "$name" oci:layout:v1
sign 0 --passphrase-file pin --key "$(uri rsa)"
sign 0 --key "$(uri rsa)" <pin
COSIGN_PKCS11_PIN=1234 sign 0 --identity --key "$(uri ec)"
openssl req -x509 -key ec.pem -out ec.crt -days 1 -subj /C=US/ST=WA/O=own/CN=signer -addext keyUsage=critical,digitalSignature \
  -addext basicConstraints=CA:FALSE
expect_exit 0 gantry sign --x509 "$(uri ec "pin-source=$T/pin")" --chain ec.crt oci:layout:v1

code=0
gantry sign --as "$name" --key "$(uri ec "pin-source=$T/wrong")" oci:layout:v1 >out 2>err || code=$?
# The provider does not tell.
[ "$code" = 4 ] || { [ "$code" = 3 ] && grep -q 'or the PIN does not open it' err; } || fail "exit $code: $(cat err)"
sign 3 --key "$(uri absent "pin-source=$T/pin")"
sign 2 --key "$(uri ec pin-value=1234)"
expect_text 'can be read by everybody' err
sign 7 --key "$(uri ec 'pin-source=|cat')"
