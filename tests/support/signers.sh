# shellcheck shell=bash
# A signer of each family of signatures, and policies that go by them. Source it after lib.sh.

# The families whose signatures gantry checks without another program. $T/FAMILY.json is the policy that goes by one.
# shellcheck disable=SC2034 # for who sources this
families=(sigstoreSigned identitySigned notationSigned signedBy)

# make_signers: the keys, and the policies; once.
make_signers() {
  local requirement
  [ ! -e "$T/key.key" ] || return 0
  export COSIGN_PASSWORD=
  gantry-keygen -q --output "$T/key" >/dev/null
  gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key bench@test.example ed25519 sign never
  gpg --export >"$T/key.gpg"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/x509.key" -out "$T/x509.crt" -days 2 -subj /C=US/ST=WA/O=own/CN=signer \
    -addext keyUsage=critical,digitalSignature -addext basicConstraints=CA:FALSE 2>/dev/null
  mkdir -p "$T/notation/trust-store/x509/ca/own"
  cp "$T/x509.crt" "$T/notation/trust-store/x509/ca/own"
  printf '{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"strict"},
    "trustStores":["ca:own"],"trustedIdentities":["*"]}]}' >"$T/notation/trustpolicy.json"
  for requirement in sigstoreSigned:key.pub identitySigned:key.pub 'signedBy","keyType":"GPGKeys:key.gpg'; do
    printf '{"default":[{"type":"%s","keyPath":"%s"}]}' "${requirement%:*}" "$T/${requirement##*:}" >"$T/${requirement%%[\":]*}.json"
  done
  printf '{"default":[{"type":"notationSigned","directory":"%s"}]}' "$T/notation" >"$T/notationSigned.json"
}

# sign_by FAMILY WORD...: gantry-sign WORD..., with that family's key.
sign_by() {
  local family=$1
  shift
  case $family in
    sigstoreSigned) gantry-sign --key "$T/key.key" "$@" ;;
    identitySigned) gantry-sign --identity --key "$T/key.key" "$@" ;;
    notationSigned) gantry-sign --x509 "$T/x509.key" --chain "$T/x509.crt" "$@" ;;
    signedBy) gantry-sign --key bench@test.example "$@" ;;
  esac
}
