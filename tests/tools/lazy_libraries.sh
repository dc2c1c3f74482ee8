# gantry-run, gantry-verify and gantry-inspect load nothing that they do not use: a start under a policy that asks for no
# key maps none of the libraries for keys and compression, one that asks for a key has the one for keys checked by it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox nm openssl readelf
[ "$(id -u)" = 0 ] || skip "starts a container as root"

lazy='libcrypto|libisal|libsodium|libzstd'
for name in inspect run verify; do
  # The dynamic linker's own list tells a build for sanitizers, or for a machine where they are linked as usual.
  ! readelf -d "$GANTRY_BIN/gantry-$name" | grep -qE 'lib(a|t|ub)san' || skip "sanitizers watch the libraries"
  [ "$(uname -m)" = x86_64 ] || skip "only x86-64 has them lazy"
  ! readelf -d "$GANTRY_BIN/gantry-$name" | grep -E "NEEDED.*($lazy)" || fail "gantry-$name is linked with it"
  # Of OpenSSL nothing is linked in but SHA-2.
  ! nm "$GANTRY_BIN/gantry-$name" | grep ' [tT] ossl_provider' || fail "gantry-$name has OpenSSL in it"
done

# loaded COMMAND...: what is loaded of these while it runs, in any of its processes, one name a line.
loaded() {
  LD_DEBUG=files LD_DEBUG_OUTPUT=$T/loads "$@" >/dev/null
  sed -nE "s,.*calling init: .*/($lazy)[.].*,\\1,p" "$T"/loads.* | sort -u
  rm "$T"/loads.*
}

make_busybox_image "$T/layout" v1
accept_anything
gantry-convert -q "oci:$T/layout:v1" store:quay.io/org/app:v1
gantry-run -q quay.io/org/app:v1 true  # renders it
for command in 'gantry-run -q' gantry-inspect gantry-verify; do
  # shellcheck disable=SC2086 # two words
  found=$(loaded $command quay.io/org/app:v1)
  [ "$found" = "" ] || fail "$command loads $found"
done

openssl ecparam -name prime256v1 -genkey -noout -out "$T/key.pem"
openssl ec -in "$T/key.pem" -pubout -out "$T/key.pub" 2>/dev/null
gantry-sign -q --key "$T/key.pem" quay.io/org/app:v1
printf '{"default":[{"type":"sigstoreSigned","keyPath":"%s"}]}\n' "$T/key.pub" >"$policy"
[ "$(loaded gantry-run -q quay.io/org/app:v1 true)" = libcrypto ] || fail "gantry-run checks no key by OpenSSL"
[ "$(loaded gantry-verify quay.io/org/app:v1)" = libcrypto ] || fail "gantry-verify checks no key by OpenSSL"
