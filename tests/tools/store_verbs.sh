# gantry-store: list, show, rm, gc and check, for people and as JSON.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq

expect_exit 0 gantry-store list
[ ! -e "$GANTRY_ROOT" ] || fail "looking made a store"
expect_exit 0 gantry-store gc
[ ! -e "$GANTRY_ROOT" ] || fail "gc made a store"
expect_exit 3 gantry-store show alpine
expect_exit 2 gantry-store rm
expect_exit 2 gantry-store gc --grace soon

make_busybox_image "$GANTRY_ROOT" docker.io/library/one:latest
expect_exit 0 gantry-store list
expect_text '^NAME +DIGEST +PLATFORM +SIZE$' "$T/out"
expect_text '^docker.io/library/one:latest +[0-9a-f]{12} .* [KM]iB$' "$T/out"
expect_exit 0 gantry-store --json list
[ "$(jq -r '.[0].name' "$T/out")" = docker.io/library/one:latest ] || fail "list --json"
digest=$(jq -r '.[0].digest' "$T/out")
for name in one "one@$digest" "$digest" "${digest:7:12}"; do
  expect_exit 0 gantry-store show "$name"
  expect_text '^Name +docker.io/library/one:latest$' "$T/out"
done
expect_exit 0 gantry-store show --json one
[ "$(jq '.[0].layers | length' "$T/out")" = 3 ] || fail "show --json: layers"
[ "$(jq '[.[0].layers[].present] | all' "$T/out")" = true ] || fail "show --json: present"

expect_exit 3 gantry-store rm one two
expect_exit 0 gantry-store show one
expect_exit 0 gantry-store gc --dry-run
expect_text '^would remove 0 blobs' "$T/out"
expect_exit 0 gantry-store rm one
[ "$(cat "$T/out")" = docker.io/library/one:latest ] || fail "rm says nothing"
expect_exit 0 gantry-store gc --grace 1h
expect_text '^removed 0 blobs' "$T/out"
expect_exit 0 gantry-store gc --json
[ "$(jq .blobs "$T/out")" = 5 ] || fail "gc: $(cat "$T/out")"
[ -z "$(ls "$GANTRY_ROOT/blobs/sha256")" ] || fail "blobs are left"
expect_exit 0 gantry-store check
