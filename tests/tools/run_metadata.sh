# --mds: apps ask about their pod, and sign as it; nobody without the token does, and the service goes with the pod.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || unshare -U true 2>/dev/null || skip "no user namespaces here"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
image=oci:$T/image:v1
"${run[@]}" --mds "$image" sh -c 'set -e; at=$AC_METADATA_URL/acMetadata/v1
  wget -qO- $at/pod/uuid; echo; wget -qO- $at/pod/manifest; echo; wget -qO- $at/apps/image/image/manifest; echo
  wget -qO- $at/apps/image/annotations; echo; wget -qO- $at/apps/image/image/id; echo
  wget -qO- --post-data content=hello $at/pod/hmac/sign; echo
  wget -qO- "${AC_METADATA_URL%??}/acMetadata/v1/pod/uuid" || echo refused' >"$T/out" 2>"$T/err" || fail "$(cat "$T/err")"
mapfile -t lines <"$T/out"
[[ ${lines[0]} =~ ^[0-9a-f-]{36}$ ]] || fail "UUID: ${lines[0]}"
[ "$(jq -r '.acKind + " " + .apps[0].name' <<<"${lines[1]}")" = "PodManifest image" ] || fail "pod manifest"
[ "$(jq -r .acKind <<<"${lines[2]}")" = ImageManifest ] || fail "image manifest"
[ "$(jq -r '.[] | select(.name == "dev.gantry/image") | .value' <<<"${lines[3]}")" = "$image" ] || fail annotations
[[ ${lines[4]} =~ ^sha512-[0-9a-f]{128}$ ]] || fail "image id: ${lines[4]}"
[ "$(base64 -d <<<"${lines[5]}" | wc -c)" = 64 ] || fail "signature: ${lines[5]}"
[ "${lines[6]}" = refused ] || fail "another token: ${lines[6]}"

# Another pod of the store verifies it, and not another text.
form="uuid=${lines[0]}&signature=$(sed 's/+/%2B/g' <<<"${lines[5]}")"
"${run[@]}" --mds -e FORM="$form" "$image" sh -c 'at=$AC_METADATA_URL/acMetadata/v1/pod/hmac/verify
  wget -qO- --post-data "content=hello&$FORM" $at && echo good; wget -qO- --post-data "content=other&$FORM" $at || echo bad' \
  >"$T/out" 2>/dev/null
[ "$(xargs <"$T/out")" = "good bad" ] || fail "verify: $(cat "$T/out")"

# Apps of a pod share it; without the option there is none.
"${run[@]}" --mds "$image" --name a -- sh -c 'echo $AC_METADATA_URL; sleep 1' --- "$image" --name b -- \
  sh -c 'echo $AC_METADATA_URL; wget -qO- $AC_METADATA_URL/acMetadata/v1/apps/a/image/id >/dev/null && echo reached' >"$T/out"
[ "$(sort -u "$T/out" | wc -l)" = 2 ] || fail "$(cat "$T/out")"
expect_text '^reached$' "$T/out"
[ -z "$("${run[@]}" "$image" sh -c 'echo $AC_METADATA_URL')" ] || fail "a service that nobody asked for"

# It holds nothing but its socket and dies with the runner.
uuid=$("${run[@]}" -d --mds "$image" sleep 1000)
server=$(await pgrep -P "$(gantry run status --json "$uuid" | jq .runner)" -x gantry-metadata)
await grep -q '^Seccomp:.2' "/proc/$server/status" || fail "the service is not confined"
[ "$(sed -n 's/^CapEff:\t//p' "/proc/$server/status")" = 0000000000000000 ] || fail "the service has capabilities"
gantry run rm -f "$uuid" >/dev/null
for _ in $(seq 100); do [ -d "/proc/$server" ] || break; sleep 0.05; done
[ ! -d "/proc/$server" ] || fail "the service is left"
expect_exit 125 "${run[@]}" --mds --isolation=vm "$image" true
expect_text 'cannot have a metadata service' "$T/err"
