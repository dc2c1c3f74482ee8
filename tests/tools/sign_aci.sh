# gantry sign makes the FILE.asc that gpg and rkt look for beside an App Container Image, whatever its bytes are, and writes over
# none.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg

gpg -q --batch --pinentry-mode loopback --passphrase '' --quick-generate-key 'release <r@gantry.example>' ed25519 sign never
head -c 3000000 /dev/zero >"$T/image.aci"
expect_exit 0 gantry sign --key r@gantry.example "aci:$T/image.aci"
expect_text "^$T/image.aci.asc\$" "$T/out"
expect_exit 0 gpg -q --verify "$T/image.aci.asc" "$T/image.aci"
expect_exit 2 gantry sign --key r@gantry.example "aci:$T/image.aci"
expect_text 'exists' "$T/err"
printf x >>"$T/image.aci"
expect_exit 1 gpg -q --verify "$T/image.aci.asc" "$T/image.aci"
expect_exit 3 gantry sign --key r@gantry.example "aci:$T/none.aci"
[ ! -e "$T/none.aci.asc" ] || fail "a signature of nothing"
COSIGN_PASSWORD='' gantry keygen -q --output "$T/bare" >/dev/null
COSIGN_PASSWORD='' expect_exit 7 gantry sign --key "$T/bare.key" "aci:$T/image.aci"
