# The libraries that cosign keeps its keys with open those that gantry keygen makes, of every kind; and gantry signs with
# the ones that they make, under both labels and with the three numbers of scrypt that cosign has had, and no others.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need go
[ -d /usr/share/gocode/src/golang.org/x/crypto/nacl ] || skip "golang-golang-x-crypto-dev is not installed"

cd "$T"
GO111MODULE=off GOFLAGS='' GOPATH=/usr/share/gocode GOCACHE=$T/cache go build -o cosign_key \
  "$GANTRY_SOURCE_DIR/tests/support/cosign_key.go"
export COSIGN_PASSWORD=pass
for kind in ecdsa-p256 ecdsa-p384 ecdsa-p521 rsa ed25519; do
  gantry keygen -q --kind "$kind" --output "$kind" >/dev/null
  expect_exit 0 ./cosign_key open "$kind.key"
  cmp -s out "$kind.pub" || fail "another key: $(cat out)"
  COSIGN_PASSWORD=word expect_exit 1 ./cosign_key open "$kind.key"
done

mkdir root && echo hello >root/hello
make_image layout v1 '{"Cmd":["/hello"]}' root
name=quay.io/org/app:v1
for label in 'ENCRYPTED SIGSTORE PRIVATE KEY' 'ENCRYPTED COSIGN PRIVATE KEY'; do
  for n in 32768 65536 131072; do
    expect_exit 0 ./cosign_key seal theirs "$n" "$label"
    printf '{"default":[{"type":"sigstoreSigned","keyPath":"%s"}]}' "$T/theirs.pub" >"$policy"
    expect_exit 4 gantry verify --as "$name" oci:layout:v1
    COSIGN_PASSWORD=word expect_exit 4 gantry sign --key theirs.key --as "$name" oci:layout:v1
    expect_exit 0 gantry sign --key theirs.key --as "$name" oci:layout:v1
    expect_exit 0 gantry verify --as "$name" oci:layout:v1
  done
  expect_exit 0 ./cosign_key seal theirs 262144 "$label"
  expect_exit 7 gantry sign --key theirs.key --as "$name" oci:layout:v1
done
