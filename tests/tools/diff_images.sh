#!/bin/bash
# gantry-diff: what differs between two images, in whatever formats, for people and as JSON; and its exit codes.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq

mkdir -p "$T"/a/etc "$T"/b/etc "$T/b/new dir"
echo one | tee "$T/a/etc/same" "$T/b/etc/same" "$T/a/etc/mode" "$T/b/etc/mode" "$T/a/etc/gone" >"$T/a/etc/text"
echo twenty >"$T/b/etc/text"
chmod 0600 "$T/b/etc/mode"
ln -s here "$T/a/link" && ln -s there "$T/b/link"
make_image "$T/img" a '{"Cmd":["sh"],"Env":["A=1","B=2"],"Labels":{"x":"y"}}' "$T/a"
make_image "$T/other" b '{"Cmd":["sh","-c"],"Env":["A=2"],"User":"app"}' "$T/b"

expect_exit 1 gantry-diff -q "oci:$T/img:a" "oci:$T/other:b"
diff - "$T/out" <<'END' || fail "another report"
~ config args: ["sh"] -> ["sh","-c"]
~ config env A: "1" -> "2"
- config env B: "2"
~ config user: "0:0" -> "app"
- config label x: "y"
- /etc/gone
~ /etc/mode: mode 0644 -> 0600
~ /etc/text: size 4 -> 7, content
~ /link: target here -> there
+ /new\x20dir
END
expect_exit 1 gantry-diff -q --json "oci:$T/img:a" "oci:$T/other:b"
[ "$(jq -c '[.same, (.config | length), (.paths | map(.change)), .paths[1].before.mode, .paths[2].after.size]' "$T/out")" = \
  '[false,5,["removed","changed","changed","changed","added"],"0644",7]' ] || fail "--json: $(cat "$T/out")"
[ "$(jq -r .before.identity "$T/out")" = "$(gantry-inspect -q --identity "oci:$T/img:a")" ] || fail "another identity"

# Packed otherwise it is the same; from a registry it comes under the policy.
start_registry
push "$T/img:a" app:a
gantry-convert -q --insecure-options=image --squash --compress zstd "oci:$T/img:a" "oci:$T/img:b" >/dev/null
expect_exit 0 gantry-diff -q "oci:$T/img:a" "oci:$T/img:b"
[ ! -s "$T/out" ] || fail "found $(cat "$T/out")"
expect_exit 0 gantry-diff -q --json "oci:$T/img:a" "oci:$T/img:b"
[ "$(jq -c '[.same, .config, .paths]' "$T/out")" = '[true,[],[]]' ] || fail "--json: $(cat "$T/out")"
expect_exit 3 gantry-diff -q "oci:$T/img:a" "oci:$T/img:c"
expect_exit 6 gantry-diff -q "oci:$T/img:a" appc:gantry.invalid/x
expect_exit 4 gantry-diff -q "oci:$T/img:a" "docker://$registry/app:a"
expect_exit 1 gantry-diff -q --insecure-options=image "oci:$T/other:b" "docker://$registry/app:a"
expect_text '^~ /etc/text: size 7 -> 4, content$' "$T/out"
for blob in "$T"/other/blobs/sha256/*; do printf x >>"$blob"; done
expect_exit 5 gantry-diff -q "oci:$T/img:a" "oci:$T/other:b"
# 1 says that they differ, so what fails otherwise is 125.
status=0
gantry-diff -q --json "oci:$T/img:a" "oci:$T/img:b" >/dev/full 2>"$T/err" || status=$?
[ $status = 125 ] || fail "a full disk is exit $status"
