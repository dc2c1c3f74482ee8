# neverOlder: what was signed before what was accepted under a name last is refused, by fetch, verify, convert and run alike,
# also after the name is gone; notBefore holds in each of them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg jq skopeo

make_gpg_key tester
name=quay.io/org/app:v1
for n in old new; do
  mkdir "$T/$n" && echo "$n" >"$T/$n/file"
  make_image "$T/layout-$n" v1 '{"Cmd":["/file"]}' "$T/$n"
done
now=$(date +%s)
sign_at "$T/layout-old" "$name" $((now + 10))
sign_at "$T/layout-new" "$name" $((now + 100))
ask() { # MORE
  printf '{"default":[{"type":"reject"}],"transports":{"docker":{"quay.io/org":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s"%s}]}}}' \
    "$T/tester.pub.gpg" "$1" >"$policy"
}
place() { gantry convert -q --overwrite --insecure-options=image "oci:$T/layout-$1:v1" "store:$name" >/dev/null 2>&1; }
code() { gantry verify --json "$name" | jq -r .code; }

ask ',"neverOlder":true'
place old
[ "$(code)" = signed ] || fail "the first one is refused: $(code)"
expect_exit 0 gantry convert -q "store:$name" "oci:$T/copy:v1"
place new
[ "$(code)" = signed ] || fail "a newer one is refused: $(code)"
place old
[ "$(code)" = signed ] || fail "verify noted what was not used"
place new
expect_exit 0 gantry convert -q "store:$name" "oci:$T/copy:v2"
place old
[ "$(code || true)" = rolled-back ] || fail "an older one: $(code)"
expect_exit 4 gantry convert -q "store:$name" "oci:$T/copy:v3"
expect_text 'older than what was accepted' "$T/err"
expect_exit 125 gantry run "store:$name"
expect_text 'older than what was accepted' "$T/err"
expect_exit 0 gantry verify --dry-run --policy "$policy"
expect_text 'rolled-back' "$T/out"
# The memory outlives the name, and the same image passes again and again.
gantry store rm "$name" >/dev/null
place old
[ "$(code || true)" = rolled-back ] || fail "forgotten with the name: $(code)"
place new
expect_exit 0 gantry verify "$name"
expect_exit 0 gantry verify "$name"
expect_exit 0 gantry store check

ask ",\"notBefore\":\"$(date -u -d "@$((now + 50))" +%Y-%m-%dT%H:%M:%SZ)\""
[ "$(code)" = signed ] || fail "$(code)"
place old
[ "$(code || true)" = too-old ] || fail "$(code)"
expect_exit 4 gantry convert -q "store:$name" "oci:$T/copy:v4"
expect_exit 125 gantry run "store:$name"
