# What gantry-sync takes for new: a repository of the destination without tags. It may have images under their digests.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
accept_anything
start_registry
source=$registry
mkdir "$T/base"
head -c 20000 /dev/urandom >"$T/base/data"
for i in 1 2 3 4; do
  mkdir "$T/own-$i"
  echo "$i" >"$T/own-$i/data"
  make_image "$T/image-$i" v1 '{"Cmd":["/x"]}' "$T/base" "$T/own-$i"
  push "$T/image-$i:v1" "app:v$i"
done
start_registry
target=$registry

# sync_digests STATES NUMBER...: copies these images by their digests, and compares what became of them, in order.
sync_digests() {
  local states=$1 number
  shift
  printf '"%s": {images: {app: [' "$source" >"$T/images.yaml"
  for number; do printf '"%s", ' "$(jq -r '.manifests[0].digest' "$T/image-$number/index.json")" >>"$T/images.yaml"; done
  echo ']}}' >>"$T/images.yaml"
  expect_exit 0 gantry sync -j 1 --json "${flags[@]}" --yaml "$T/images.yaml" "docker://$target/x/"
  [ "$(jq -r '[.images[].state] | join(", ")' "$T/out")" = "$states" ] || fail "not $states: $(cat "$T/out")"
}
flags=()
sync_digests 'copied, copied, copied' 1 2 3
sync_digests 'same, same, same' 1 2 3
flags=(--dry-run)
sync_digests 'would copy, same, same, same' 4 1 2 3
flags=()
sync_digests 'copied, same, same, same' 4 1 2 3
jq -e '.bytes < 20000' "$T/out" >/dev/null || fail "the layer that all have went again: $(cat "$T/out")"

# Whether there are tags is only good to know: who does not say it is asked for each image.
start_proxy http 'access_log off;' 'location ~ ^/v2/odd/.*/tags/list { return 200 "<html>no list here</html>"; }
  location ~ ^/v2/none/.*/tags/list { return 404; } location ~ ^/v2/lost/.*/tags/list { return 444; }' \
  'proxy_set_header Host $http_host;'
for place in odd none lost; do
  expect_exit 0 gantry sync -j 1 "docker://$source/app" "docker://127.0.0.1:$port/$place/"
  [ "$(grep -c "\"HEAD /v2/$place/app/manifests/" "$registry_log")" = 4 ] || fail "did not ask what is in $place"
done
