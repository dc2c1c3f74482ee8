# prepare does all but the execution; run-prepared executes what was planned then, once; export shows what it changed.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
insecure=(-q --insecure-options=image)
uuid=$(A=before gantry run "${insecure[@]}" prepare -e A "oci:$T/image:v1" sh -c 'echo $A >/made; echo $A; exit 4')
[ "$(gantry run status "$uuid" | grep state)" = state=prepared ] || fail "it is not prepared"
gantry run gc >/dev/null
expect_exit 125 gantry run run-prepared --bogus "$uuid"
expect_text bogus "$T/err"
expect_exit 125 gantry run -q run-prepared "$uuid" # the policy is asked again
expect_text 'refused' "$T/err"
A=now expect_exit 4 gantry run "${insecure[@]}" run-prepared "$uuid"
expect_text '^before$' "$T/out"
expect_exit 125 gantry run "${insecure[@]}" run-prepared "$uuid"
expect_text 'it is exited' "$T/err"
[ "$(gantry run status "$uuid" | grep app-)" = app-image=4 ] || fail "its code is not known"

expect_exit 0 gantry run export --json -o "$T/tar" "$uuid"
[ "$(tar -xOf "$T/tar" made)" = before ] || fail "its change is not exported"
tar -tf "$T/tar" >"$T/list"
grep -qx bin/busybox "$T/list" || fail "the image is not exported"
gantry run export "$uuid" | cmp - "$T/tar" || fail "another tar"
expect_exit 0 gantry run cat-manifest "$uuid"
[ "$(jq -r '.acKind, .apps[0].name, .apps[0].app.exec[0]' "$T/out" | xargs)" = "PodManifest image sh" ] || fail "$(cat "$T/out")"
expect_exit 0 gantry run gc --grace-period 0
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"

uuid=$(gantry run "${insecure[@]}" prepare "oci:$T/image:v1" sh -c 'sleep 1000')
gantry run gc --expire-prepared 0 --json | jq -e '.removed | length == 1' >/dev/null || fail "an old prepared pod stays"
