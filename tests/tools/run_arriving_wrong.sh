#!/bin/bash
# A layer that comes wrong, short, too long or not at all is told as gantry-fetch alone tells it; nothing of its image is
# executed, and nothing of it stays rendered, not even where its tar is the right one.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"
accept_anything
start_registry
mkdir -p "$T/base/bin" "$T/top" "$T/seen"
cp "$(command -v busybox)" "$T/base/bin/busybox"
ln -s busybox "$T/base/bin/touch"
head -c 3000000 /dev/urandom >"$T/base/large"
head -c 2000000 /dev/urandom >"$T/top/data"
make_image "$T/img" v1 '{"Cmd":["touch","/seen/executed"]}' "$T/base" "$T/top"
push "$T/img:v1" large:v1

# told WHAT: gantry-run and its verbs end so.
told() {
  local code=0
  rm -rf "$T/alone"
  gantry-fetch -q --root "$T/alone" "docker://$registry/large:v1" >/dev/null 2>"$T/wanted" || code=$?
  [ "$code" != 0 ] || fail "$1: fetched all the same"
  for verb in '' prepare -d; do
    rm -rf "$T/store"
    # What only prepares has no code of an app's to keep apart from its own.
    # shellcheck disable=SC2086
    expect_exit "$([ "$verb" = prepare ] && echo "$code" || echo 125)" gantry-run -q $verb -v "$T/seen:/seen" "docker://$registry/large:v1"
    diff "$T/wanted" "$T/err" || fail "$1: gantry-run $verb says something else"
    [ ! -e "$T/seen/executed" ] || fail "$1: gantry-run $verb executed it"
    [ -z "$(ls -A "$T/store/layers")" ] || fail "$1: gantry-run $verb left $(ls -A "$T/store/layers")"
    for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
    [ -z "$(ls -A "$T/store/pods")" ] || fail "$1: gantry-run $verb left a pod"
    ! gantry-store list -q | grep . || fail "$1: there is a name in the store"
    expect_exit 0 gantry-store check
  done
}
layers=$(gantry-inspect --raw "oci:$T/img:v1" | jq -r '.layers[].digest[7:]')
for layer in $layers; do
  kept=$(find "$T" -path "*/blobs/sha256/${layer:0:2}/$layer/data")
  cp "$kept" "$T/kept"
  spoil "$kept" 1500000
  told 'wrong bytes'
  # The time in gzip's header: what is unpacked is what its diff ID says.
  cp "$T/kept" "$kept"
  spoil "$kept" 4
  [ "$(zcat "$kept" | sha256sum)" = "$(zcat "$T/kept" | sha256sum)" ] || fail "another tar"
  told 'the same tar in another blob'
  head -c 1500000 "$T/kept" >"$kept"
  told 'a short blob'
  { cat "$T/kept" && echo more; } >"$kept"
  told 'a long blob'
  rm "$kept"
  told 'no blob'
  cp "$T/kept" "$kept"
done

# What the policy refuses is not even fetched.
printf '{"default":[{"type":"reject"}]}\n' >"$policy"
told 'a refusal'
[ -z "$(find "$T/store/blobs" -type f)" ] || fail "blobs of what was refused"
accept_anything
rm -rf "$T/store"
expect_exit 0 gantry-run -q -v "$T/seen:/seen" "docker://$registry/large:v1"
[ -e "$T/seen/executed" ] || fail "not executed at all"
