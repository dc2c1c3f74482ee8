#!/bin/bash
# The vectors of gantry-identity(5) hold without our code: sha256sum finds the digests, jq the form of the document, and
# find the lines of the trees, which the shell builds from their descriptions. And the page has every one of them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/identity.sh"
need jq getfattr setfattr mandoc
[ "$(id -u)" = 0 ] || skip "owners and devices need root"

hash_of() { printf 'sha256:%s' "$(sha256sum <"$1" | cut -d' ' -f1)"; }
# The links that every tree has.
appc_links() {
  ! [ -L dev ] || return 0
  mkdir -p dev
  local link
  for link in fd:/proc/self/fd stderr:/dev/console stdin:/proc/self/fd/0 stdout:/dev/console; do
    [ -e "dev/${link%%:*}" ] || [ -L "dev/${link%%:*}" ] || ln -s "${link#*:}" "dev/${link%%:*}"
  done
}

mandoc -T utf8 -O width=1000 "$GANTRY_SOURCE_DIR/man/gantry-identity.5" | sed 's/^ *//' >"$T/page"
built=0
for vector in "$GANTRY_SOURCE_DIR"/testdata/golden/identity/*/; do
  name=$(basename "$vector")
  [ "$(hash_of "$vector/document")" = "$(cat "$vector/identity")" ] || fail "$name: another identity"
  [ "$(hash_of "$vector/lines")" = "$(jq -r .rootfs "$vector/document")" ] || fail "$name: another rootfs"
  [ "$(jq -cS . "$vector/document")" = "$(cat "$vector/document")" ] || fail "$name: not canonical"
  grep -qFx -- "$(cat "$vector/document")" "$T/page" || [ "$(cat "$vector/lines")" != "$(cat "$vector/../empty/lines")" ] ||
    fail "$name: the page lacks the document"
  cat "$vector"/{image,lines,identity} | grep -vFx -f "$T/page" && fail "$name: the page has other lines"
  [ "$(grep -c ^layer "$vector/image")" = 1 ] && [ "$name" != twice ] || continue
  mkdir "$T/$name"
  cd "$T/$name"
  while read -r type words; do
    read -ra words <<<"$words"
    [ "$type" = config ] || [ "$type" = layer ] || make_entry "$type" "${words[@]}"
  done <"$vector/image"
  appc_links
  tree_lines | diff "$vector/lines" - || fail "$name: find sees another tree"
  built=$((built + 1))
done
[ $built -ge 10 ] || fail "only $built trees were built"
