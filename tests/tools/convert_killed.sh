#!/bin/bash
# kill -9 at any moment leaves the output absent or whole, and for a file nothing else; what it leaves of a layout the
# next run removes, and what it leaves in a store is no harm to it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"

make_busybox_image "$T/img" v1
mkdir "$T/out"
convert() { gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$1" >/dev/null 2>&1; }
places=(aci:DIR/x.aci oci:DIR/x:v1 oci-archive:DIR/x.tar:v1 docker-archive:DIR/x.tar:x:v1 store:x)
for place in "${places[@]}"; do
  mkdir -p "$T/whole/${place%%:*}"
  convert "${place/DIR/$T/whole/${place%%:*}}" || fail "cannot write $place"
done

RANDOM=4711
kill_window=100000
killed=0
round=0
while [ "$killed" -lt 100 ]; do
  [ $((round += 1)) -le 500 ] || fail "only $killed of $round were killed in time"
  place=${places[$((round % 5))]}
  to=${place/DIR/$T/out}
  gantry-store rm x >/dev/null 2>&1 || true
  gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$to" >/dev/null 2>&1 &
  pid=$!
  a_random_moment
  kill -9 $pid 2>/dev/null || true
  status=0
  wait $pid 2>/dev/null || status=$?
  ! killed_in_time "$status" || killed=$((killed + 1))
  path=${to#*:}
  path=${path%%:*}
  if [ "$place" = store:x ]; then
    gantry-store check >/dev/null || fail "the store is not sound"
  elif [ -e "$path" ]; then
    diff -r "$T/whole/${place%%:*}/${path##*/}" "$path" || fail "$to is not whole"
  fi
  [ "$(find "$T/out" -maxdepth 1 -type f ! -path "$path" | wc -l)" = 0 ] || fail "leftovers: $(ls -A "$T/out")"
  rm -rf "$path"
done
echo "$killed of $round were killed in time"
convert "oci:$T/out/x:v1"
[ "$(ls -A "$T/out")" = x ] || fail "the next run left $(ls -A "$T/out")"
