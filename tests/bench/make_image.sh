#!/bin/bash
# make_image.sh LAYOUT: the image of the benchmarks, as an OCI layout with the ref "bench": Debian, then python3, gcc and
# git over it, then an application with 20,000 small files, then a layer with whiteouts. About 400 MB compressed.
# Debian comes from the first mirror that apt is configured with. Needs root.
set -euo pipefail
layout=$1
work=$layout.work

[ ! -e "$layout/index.json" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "debootstrap needs root" >&2; exit 1; }
rm -rf --one-file-system "$work" "$layout"
mkdir -p "$work/debs" "$work/application/opt/app/files" "$work/last/usr/share" "$work/last/opt/app"
work=$(cd "$work" && pwd)

say() { printf 'bench: %s\n' "$*" >&2; }
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' | awk '$2 == "bookworm" {print $1; exit}')
[ -n "$mirror" ] || { echo "apt has no mirror of bookworm" >&2; exit 1; }

bootstrap() {
  local log=$work/$1.log
  debootstrap --variant=minbase --cache-dir="$work/debs" "${@:2}" bookworm "$work/$1" "$mirror" >"$log" 2>&1 ||
    { tail "$log" >&2; exit 1; }
  rm -rf "${work:?}/$1"/var/cache/apt/archives/*.deb "${work:?}/$1"/{dev,proc,sys}/*
}
say "installing Debian, twice: as it is, and with python3, gcc and git"
bootstrap base
bootstrap tools --include=python3,gcc,git

# What the second has more, or otherwise, is the second layer.
say "the second layer is what differs"
cd "$work/tools"
find . -type f -printf '%P\0' | while IFS= read -rd '' file; do
  cmp -s "$file" "../base/$file" && printf '%s\0' "$file"
done >"$work/same"
xargs -0 rm -f <"$work/same"
find . -type l -printf '%P\0' | while IFS= read -rd '' link; do
  [ "$(readlink "$link")" != "$(readlink "../base/$link")" ] || rm "$link"
done
find . -depth -mindepth 1 -type d -empty -printf '%P\0' | while IFS= read -rd '' dir; do
  [ ! -d "../base/$dir" ] || rmdir "$dir"
done

# The same bytes at every making: a cipher's key stream, of which base64 makes text that compresses to three quarters.
random() { openssl enc -aes-128-ctr -K "$1" -iv 0 -in /dev/zero 2>/dev/null | head -c "$2" || true; }
say "20,000 small files"
cd "$work/application/opt/app/files"
random 1 90000000 | base64 -w 120 | split -b 6050 -a 5 -d - file-
for number in $(seq -w 0 99); do
  mkdir "$number"
  mv file-*"$number" "$number"
done
random 2 120000000 >../model.bin

cd "$work/last"
: >usr/share/.wh.doc
: >usr/share/.wh.man
: >opt/app/.wh.model.bin
random 3 1000000 >opt/app/model.bin.new

say "compressing four layers"
cd "$(dirname "$work")"
# shellcheck source=../support/lib.sh
. "$BENCH_LIB"
make_image "$work/layout" bench '{"Cmd":["/bin/true"],"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}' \
  "$work/base" "$work/tools" "$work/application" "$work/last"
mv "$work/layout" "$layout"
rm -rf --one-file-system "$work"
