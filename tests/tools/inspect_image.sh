# gantry-inspect: table, --json, --raw and --config, of the store and of a layout; and what it does not read.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq

make_busybox_image "$GANTRY_ROOT" docker.io/library/one:latest
make_busybox_image "$T/layout" v1
for image in one store:one docker://one docker.io/library/one "oci:$T/layout:v1" "oci:$T/layout"; do
  expect_exit 0 gantry-inspect "$image"
  expect_text "^Platform +linux/$(image_architecture)" "$T/out"
  expect_text '^Cmd +\["sh","-c","echo hello from gantry"\]$' "$T/out"
  expect_text '^Env +PATH=/bin$' "$T/out"
  expect_text '^ +GREETING=hello$' "$T/out"
  expect_text '^Ports +8080/tcp$' "$T/out"
  expect_text '^Volumes +/var/data$' "$T/out"
  expect_text '^Labels +org.example.purpose=test$' "$T/out"
  expect_text '^3 .* sha256:[0-9a-f]{64} +sha256:[0-9a-f]{64} +application/vnd.oci.image.layer.v1.tar\+gzip$' "$T/out"
done
expect_exit 0 gantry-inspect --json one
[ "$(jq -c '[.workingDir, .ports, .labels["org.example.purpose"]]' "$T/out")" = '["/home/app",["8080/tcp"],"test"]' ] ||
  fail "--json: $(cat "$T/out")"
[ "$(jq '[.layers[].size] | add' "$T/out")" -lt "$(jq .size "$T/out")" ] || fail "size is not the sum"
digest=$(jq -r .digest "$T/out")
[ "sha256:$(gantry-inspect --raw one | sha256sum | cut -d' ' -f1)" = "$digest" ] || fail "--raw are not the bytes"
[ "sha256:$(gantry-inspect --config one | sha256sum | cut -d' ' -f1)" = "$(jq -r .config "$T/out")" ] ||
  fail "--config are not the bytes"
[ "$(gantry-inspect --raw "oci:$T/layout:v1" | sha256sum)" = "$(gantry-inspect --raw one | sha256sum)" ] ||
  fail "--raw of a layout"

expect_exit 3 gantry-inspect docker://other
expect_text 'gantry fetch docker.io/library/other:latest' "$T/err"
expect_exit 3 gantry-inspect store:other
expect_exit 3 gantry-inspect "oci:$T/layout:v2"
expect_exit 3 gantry-inspect appc:example.com/some
expect_exit 2 gantry-inspect --raw --json one
expect_exit 2 gantry-inspect 'docker://UPPER'
expect_exit 0 gantry-inspect --print-confinement one
expect_text 'network: none' "$T/out"
# A read-only look needs no right to write, and as little is left behind.
before=$(find "$GANTRY_ROOT" -printf '%p %T@\n' | sort)
expect_exit 0 gantry-inspect one
[ "$(find "$GANTRY_ROOT" -printf '%p %T@\n' | sort)" = "$before" ] || fail "inspect wrote into the store"
