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

# A pod that cannot be read is seen and goes, and is in nobody's way. One of an earlier version, which recorded the text
# of a profile, can be read.
printf '%s' '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}' >"$T/profile"
for _ in 1 2 3; do gantry run "${insecure[@]}" prepare --security-opt seccomp="$T/profile" "oci:$T/image:v1" mkdir /x; done >"$T/uuids"
mapfile -t uuids <"$T/uuids"
change() { # UUID JQ_FILTER
  sed 's/^[^{].*/"&"/' "$T/store/pods/$1/image" | jq -c "if type == \"object\" and .apps then $2 else . end" | sed 's/^"//; s/"$//' >"$T/changed"
  cat "$T/changed" >"$T/store/pods/$1/image"
}
change "${uuids[0]}" ".apps[0].config |= (del(.program) | .profile=$(jq -Rs . "$T/profile"))"
change "${uuids[1]}" '.apps[0].config |= del(.program)'
expect_exit 0 gantry run list --json
[ "$(jq -r '.[].state' "$T/out" | sort | xargs)" = 'prepared prepared unreadable' ] || fail "$(cat "$T/out")"
expect_exit 0 gantry run list --full
expect_text "^${uuids[1]} .*unreadable" "$T/out"
expect_exit 1 gantry run "${insecure[@]}" run-prepared "${uuids[0]}"
expect_text 'No space left on device' "$T/err"
expect_exit 5 gantry run status "${uuids[1]}"
expect_text "rm -f ${uuids[1]}" "$T/err"
expect_exit 0 gantry run rm "${uuids[2]}"
expect_exit 0 gantry run rm -f "${uuids[1]}"
uuid=$(gantry run "${insecure[@]}" prepare --security-opt seccomp="$T/profile" "oci:$T/image:v1" true)
change "$uuid" '.apps[0].config |= del(.program)'
expect_exit 0 gantry run gc --grace-period 0 --expire-prepared 0
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
