# gantry trust lint finds what is not meant in a policy; gantry verify --dry-run shows what another policy would change.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq

export COSIGN_PASSWORD=
gantry keygen -q --output "$T/release" >/dev/null
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
gantry store list >/dev/null
for name in quay.io/org/app:v1 quay.io/org/app:v2 docker.io/library/other:v1; do
  skopeo --insecure-policy copy -q "oci:$T/layout:v1" "oci:$GANTRY_ROOT:$name"
done
expect_exit 0 gantry sign --key "$T/release.key" quay.io/org/app:v1
signed='[{"type":"sigstoreSigned","keyPath":"'$T'/release.pub"}]'
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"quay.io":%s}}}' "$signed" >"$T/new.json"
printf '{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"quay.io/org":%s,"busybox":%s}}}' \
  "$signed" "${signed/release/gone}" >"$policy"

expect_exit 0 gantry trust lint --policy "$T/new.json"
expect_exit 1 gantry trust lint --json
[ "$(jq -c '[.findings[].code]' "$T/out")" = '["accept-anything","unreachable-scope","unreadable-key"]' ] || fail "$(cat "$T/out")"

expect_exit 2 gantry verify --dry-run
expect_exit 0 gantry verify --dry-run --policy "$T/new.json"
expect_text '^docker.io/library/other:v1: allowed, then refused \(rejected\)' "$T/out"
expect_text '^quay.io/org/app:v1: allowed \(signed\)$' "$T/out"
expect_text '^quay.io/org/app:v2: refused \(identity-mismatch\)' "$T/out"
expect_exit 0 gantry verify --dry-run --policy "$T/new.json" --json quay.io/org/app:v1
[ "$(jq -r '.images[].after.code' "$T/out")" = signed ] || fail "$(cat "$T/out")"
expect_exit 0 gantry-verify --print-confinement quay.io/org/app:v1
expect_text '^unix sockets: none' "$T/out"
