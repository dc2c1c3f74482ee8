# gantry sign puts its signatures into the registry of docker://NAME, which keeps no list of referrers by itself: behind
# cosign's tag, where skopeo finds them, and as referrers. gantry verify finds them there; of signers at once none is lost;
# gantry push takes along what lies beside an image.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq openssl

export COSIGN_PASSWORD=
cd "$T"
for n in release 1 2 3 4; do gantry keygen -q --output "$n" >/dev/null; done
mkdir root && echo hello >root/hello
make_image layout v1 '{"Cmd":["/hello"]}' root
start_registry
push layout:v1 app:v1
app=docker://$registry/app:v1
hex=$(jq -r '.manifests[0].digest[7:]' layout/index.json)
requirement='{"type":"%s","keyPath":"'$T'/release.pub"%s}'
# shellcheck disable=SC2059 # the format is the requirement
judge() { printf "{\"default\":[$requirement]}" "$2" "${3-}" >"$policy" && expect_exit "$1" gantry verify --json "$app"; }
codes() { [ "$(jq -r '[.steps[].code] | sort | join(" ")' out)" = "$1" ] || fail "not $1: $(cat out)"; }

judge 4 sigstoreSigned
expect_exit 0 gantry sign --form payload,bundle --identity --key release.key "$app"
[ "$(sed -n 1p out)" = "$registry/app:sha256-$hex.sig" ] || fail "not where cosign looks: $(cat out)"
[ "$(sed -n '2,$s/sha256:.*//p' out | sort -u)" = "$registry/app@" ] || fail "no referrers: $(cat out)"
[ ! -e "$GANTRY_ROOT/blobs/sha256/$hex" ] || [ -z "$(gantry store list | sed 1d)" ] || fail "signing named it in the store"
judge 0 sigstoreSigned && codes 'other-predicate signed signed'
judge 0 identitySigned && codes 'other-kind other-predicate signed'
expect_exit 4 gantry verify --as quay.io/other:v1 "$app"
expect_exit 0 gantry fetch "$app"

# skopeo, by the policy that it shares with gantry; Debian's is built without this kind of signatures.
printf 'docker: {"%s": {use-sigstore-attachments: true}}\n' "$registry" >"$XDG_CONFIG_HOME/containers/registries.d/x.yaml"
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s":[{"type":"sigstoreSigned","keyPath":"%s"}]}}}' \
  "$registry" "$T/release.pub" >shared.json
skopeo copy -q --policy shared.json --src-tls-verify=false "$app" "dir:$T/copied" 2>err || grep -q 'sigstore disabled' err || fail "$(cat err)"
# Signers at once, of an image that is in the store by now.
pids=()
for n in 1 2 3 4; do gantry sign -q --form payload,bundle --key "$n.key" "$app" >"$n.out" 2>&1 & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || fail "$(cat ./*.out)"; done
raw() { skopeo inspect --raw --tls-verify=false "docker://$registry/app:$1"; }
[ "$(raw "sha256-$hex.sig" | jq '.layers | length')" = 5 ] || fail "a signature was lost: $(raw "sha256-$hex.sig")"
[ "$(raw "sha256-$hex" | jq '.manifests | length')" = 6 ] || fail "a referrer was lost: $(raw "sha256-$hex")"

# What lies in a layout goes along with a push, unless it is to stay.
app=docker://$registry/pushed:v1
expect_exit 0 gantry sign --key release.key --as "$app" oci:layout:v1
expect_exit 0 gantry push --insecure-options=image --no-signatures oci:layout:v1 "$app"
judge 4 sigstoreSigned
expect_exit 0 gantry push --insecure-options=image oci:layout:v1 "$app"
judge 0 sigstoreSigned
