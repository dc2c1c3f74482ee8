# gantry sign --all signs an index and the image for every platform that it lists, in one go: each is trusted on a machine
# of its own kind, and who judges indexes finds that signed, too.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=
cd "$T"
gantry keygen -q --output release >/dev/null
index=$(make_index layout v1 amd64 arm64 riscv64)
start_registry
skopeo --insecure-policy copy -q --all --dest-tls-verify=false oci:layout:v1 "docker://$registry/app:v1"
app=docker://$registry/app:v1
mapfile -t images < <(skopeo inspect --raw --tls-verify=false "$app" | jq -r '.manifests[].digest')
judge() { # TYPE EXIT
  printf '{"default":[{"type":"%s","keyPath":"%s"}]}' "$1" "$T/release.pub" >"$policy"
  for platform in linux/amd64 linux/arm64 linux/riscv64; do expect_exit "$2" gantry verify --platform $platform "$app"; done
}
signed() { skopeo inspect --raw --tls-verify=false "docker://$registry/app:${1/:/-}.sig" >/dev/null 2>&1; }

judge sigstoreSigned 4
expect_exit 0 gantry sign --all --key release.key "$app"
[ "$(wc -l <out)" = 4 ] || fail "not an index and three images: $(cat out)"
for digest in "$index" "${images[@]}"; do signed "$digest" || fail "$digest is not signed"; done
judge sigstoreSigned 0
judge identitySigned 4
expect_exit 0 gantry sign --all --form identity --key release.key "$app"
[ "$(wc -l <out)" = 3 ] || fail "not three images: $(cat out)"
judge identitySigned 0
expect_exit 0 gantry fetch --all "$app"

# With OpenPGP, into a lookaside; under another name.
make_gpg_key release
expect_exit 0 gantry sign --all --key release@example.com --as docker://quay.io/org/app:v1 --lookaside "$T/aside" "$app"
for digest in "$index" "${images[@]}"; do
  [ -s "aside/org/app@${digest/:/=}/signature-1" ] || fail "$digest has no signature: $(find aside)"
done

# An image that no index lists is all that there is; what is in no registry is not signed so.
expect_exit 0 gantry sign --all --key release.key "docker://$registry/app@${images[1]}"
[ "$(wc -l <out)" = 1 ] || fail "not one: $(cat out)"
expect_exit 7 gantry sign --all --key release.key --as "$app" oci:layout:v1
expect_exit 2 gantry sign --all --platform linux/amd64 --key release.key "$app"
