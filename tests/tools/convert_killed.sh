#!/bin/bash
# kill -9 at any moment leaves the output absent or whole, and for a file nothing else; what it leaves of a layout the
# next run removes.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"

make_busybox_image "$T/img" v1
mkdir "$T/out"
convert() { gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$1" >/dev/null 2>&1; }
convert "aci:$T/whole.aci"
convert "oci:$T/whole:v1"

RANDOM=4711
kill_window=100000
killed=0
round=0
while [ "$killed" -lt 50 ]; do
  [ $((round += 1)) -le 300 ] || fail "only $killed of $round were killed in time"
  [ $((round % 2)) = 0 ] && to=aci:$T/out/x.aci || to=oci:$T/out/x:v1
  gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$to" >/dev/null 2>&1 &
  pid=$!
  a_random_moment
  kill -9 $pid 2>/dev/null || true
  status=0
  wait $pid 2>/dev/null || status=$?
  ! killed_in_time "$status" || killed=$((killed + 1))
  if [ $((round % 2)) = 0 ]; then
    [ "$(find "$T/out" -maxdepth 1 -type f ! -name x.aci | wc -l)" = 0 ] || fail "leftovers: $(ls -A "$T/out")"
    [ ! -e "$T/out/x.aci" ] || cmp "$T/whole.aci" "$T/out/x.aci" || fail "partial file"
  else
    [ ! -e "$T/out/x" ] || diff -r "$T/whole" "$T/out/x" || fail "partial layout"
  fi
  rm -rf "$T/out/x" "$T/out/x.aci"
done
echo "$killed of $round were killed in time"
convert "oci:$T/out/x:v1"
[ "$(ls -A "$T/out")" = x ] || fail "the next run left $(ls -A "$T/out")"
