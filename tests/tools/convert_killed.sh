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
start=$(date +%s%N)
convert "aci:$T/again.aci"
took=$((($(date +%s%N) - start) / 1000))

RANDOM=4711
whole=0
for i in $(seq 60); do
  [ $((i % 2)) = 0 ] && to=aci:$T/out/x.aci || to=oci:$T/out/x:v1
  gantry-convert -q --insecure-options=image "oci:$T/img:v1" "$to" >/dev/null 2>&1 &
  pid=$!
  sleep "$(printf '0.%06d' $(((RANDOM * 32768 + RANDOM) % (took * 5 / 4 + 1))))"
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  if [ $((i % 2)) = 0 ]; then
    [ "$(find "$T/out" -maxdepth 1 -type f ! -name x.aci | wc -l)" = 0 ] || fail "leftovers: $(ls -A "$T/out")"
    [ ! -e "$T/out/x.aci" ] || { cmp "$T/whole.aci" "$T/out/x.aci" && whole=$((whole + 1)) || fail "partial file"; }
  else
    [ ! -e "$T/out/x" ] || { diff -r "$T/whole" "$T/out/x" && whole=$((whole + 1)) || fail "partial layout"; }
  fi
  rm -rf "$T/out/x" "$T/out/x.aci"
done
echo "$whole of 60 came to their end"
[ "$whole" -lt 60 ] || fail "nothing was killed in time"
convert "oci:$T/out/x:v1"
[ "$(ls -A "$T/out")" = x ] || fail "the next run left $(ls -A "$T/out")"
