#!/bin/bash
# An ACI is an image like any other: inspected, judged under the policy for its path, converted back and run, however it
# is compressed; what was lost on the way to it comes back.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need bzip2 jq xz zstd
make_busybox_image "$T/img" v1
convert() { gantry-convert -q --insecure-options=image "$@" >"$T/out" 2>"$T/err" || fail "$(cat "$T/err")"; }
convert "oci:$T/img:v1" "aci:$T/a.aci" --name example.com/hello

gantry-inspect --raw "aci:$T/a.aci" >"$T/manifest"
for program in bzip2 xz zstd cat; do
  gzip -dc "$T/a.aci" | "$program" >"$T/packed.aci"
  gantry-inspect --raw "aci:$T/packed.aci" | cmp - "$T/manifest" || fail "another image with $program"
done
gantry-inspect --raw aci:/dev/stdin <"$T/a.aci" | cmp - "$T/manifest" || fail "another image from standard input"
gzip -dc "$T/a.aci" | gantry-inspect --raw aci:/dev/stdin | cmp - "$T/manifest" || fail "another image from a pipe"
[ "$(gantry-inspect -q --identity "aci:$T/a.aci")" = "$(gantry-inspect -q --identity "oci:$T/img:v1")" ] ||
  fail "another identity"

convert "aci:$T/a.aci" "oci:$T/back:v1"
for layout in img back; do
  gantry-inspect --config "oci:$T/$layout:v1" | jq -S 'del(.rootfs, .history)' >"$T/$layout.json"
done
diff "$T/img.json" "$T/back.json" || fail "another configuration"
expect_text 'layer.v1.tar\+gzip' <(gantry-inspect "oci:$T/back:v1")
convert "aci:$T/a.aci" "aci:$T/again.aci"
expect_text '"name":"example.com/hello"' <(tar xzOf "$T/again.aci" manifest)

expect_exit 4 gantry-verify "aci:$T/a.aci"
printf '{"default":[{"type":"reject"}],"transports":{"aci":{"%s":[{"type":"insecureAcceptAnything"}]}}}' "$T" >"$policy"
expect_exit 0 gantry-verify "aci:$T/a.aci"
head -c 100000 "$T/a.aci" >"$T/cut.aci"
expect_exit 5 gantry-convert "aci:$T/cut.aci" "oci:$T/cut:v1"
expect_exit 7 gantry-convert --all "aci:$T/a.aci" "oci:$T/all"
unshare -r true 2>/dev/null || [ "$(id -u)" = 0 ] || exit 0
gantry-run "aci:$T/a.aci" >"$T/out" 2>"$T/err" || fail "$(cat "$T/err")"
expect_text '^hello from gantry$' "$T/out"
