# gantry-sync copies many images from registry to registry: by name, all tags, list and YAML, comparing first; one that fails
# keeps no other from being copied, and the exit code tells.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"
make_busybox_image "$T/layout" v1
start_registry
source=$registry source_log=$registry_log
for tag in 1.1.0 1.2.0 1.2.5 2.0.0-rc1 latest; do push "$T/layout:v1" team/app:$tag; done
push "$T/layout:v1" tool:v1
start_registry
target=$registry
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$source/tool:v1")

expect_exit 0 gantry sync -q --dry-run "docker://$source/tool:v1" "docker://$target/m/"
[ ! -s "$T/out" ] || fail "--quiet printed $(cat "$T/out")"
expect_exit 3 gantry tags "$target/m/tool"
forget "$source_log"
expect_exit 0 gantry sync "docker://$source/tool:v1" "$source/team/app" "docker://$target/m/"
! grep -q 'request.method=HEAD' "$source_log" || fail "asked for heads that there is nothing to compare with"
[ "$(grep -c "^copied .*$digest" "$T/out")" = 6 ] || fail "not six were copied: $(cat "$T/out")"
skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$target/m/app:1.2.5" "dir:$T/back"
cmp "$T/back/manifest.json" "$T/layout/blobs/sha256/${digest#sha256:}"

# What is the same is not fetched again.
forget "$source_log"
expect_exit 0 gantry sync --json "docker://$source/tool:v1" "$source/team/app" "docker://$target/m"
jq -e '.same == 6 and .copied == 0 and .failed == 0 and .bytes == 0' "$T/out" >/dev/null || fail "$(cat "$T/out")"
! grep -q 'request.method=GET.*\(manifests\|blobs\)' "$source_log" || fail "asked for more than heads"

# Where no tag is yet one look says so for all of them.
expect_exit 0 gantry sync -j 1 "$source/team/app" "docker://$target/new/"
[ "$(grep -c '"HEAD /v2/new/app/manifests/' "$registry_log")" = 1 ] || fail "$(grep '"HEAD /v2/new/' "$registry_log")"

cat >"$T/images.yaml" <<END
"$source":
  images:
    tool: [v1, "$digest"]
  images-by-semver:
    team/app: ">= 1.2, < 2"
  images-by-tag-regex:
    team/app: ^la.*t\$
  tls-verify: false
END
expect_exit 0 gantry sync --scoped --append-suffix=-x --yaml "$T/images.yaml" "docker://$target/"
[ "$(grep -c ^copied "$T/out")" = 5 ] || fail "not five: $(cat "$T/out")"
expect_exit 0 gantry tags "$target/${source/:/_}/team/app"
[ "$(sort "$T/out" | xargs)" = '1.2.0-x 1.2.5-x latest-x' ] || fail "tags are $(cat "$T/out")"

# A part that fails: 1, and the others are there; without --keep-going what was not tried is told.
printf '# ours\n%s/tool:v1\ndocker://%s/absent:v9 # gone\n%s/team/app:latest\n' "$source" "$source" "$source" >"$T/list"
expect_exit 1 gantry sync --keep-going --json --list "$T/list" "docker://$target/part/"
jq -e '.copied == 2 and .failed == 1 and (.images[] | select(.state == "failed") | .code == 3)' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 3 gantry sync -j 1 "$source/absent:v1" "$source/tool:v1" "docker://$target/none/"
expect_text '1 were not tried' "$T/err"
echo '"r.example": {image: {a: []}}' >"$T/bad.yaml"
expect_exit 5 gantry sync --yaml "$T/bad.yaml" "docker://$target/"
expect_exit 2 gantry sync "$source/tool:v1" oci:dir

# Nothing unsigned is copied.
printf '{"default":[{"type":"reject"}]}\n' >"$policy"
expect_exit 4 gantry sync "$source/tool:v1" "docker://$target/refused/"
expect_exit 3 gantry tags "$target/refused/tool"
