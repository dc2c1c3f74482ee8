#!/bin/bash
# A disk that fills up is exit 1 with a hint, whatever is written, and nothing is left of the output.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need unshare
unshare --mount true 2>/dev/null || skip "no mount namespaces here"
make_busybox_image "$T/img" v1
mkdir "$T/small"
export T
# shellcheck disable=SC2016
unshare --mount bash -euc '
  mount -t tmpfs -o size=1m tmpfs "$T/small"
  for to in "oci:$T/small/x:v1" "oci-archive:$T/small/x.tar" "docker-archive:$T/small/x.tar" "aci:$T/small/x.aci"; do
    code=0
    gantry-convert -q --insecure-options=image --compress none "oci:$T/img:v1" "$to" >"$T/out" 2>"$T/err" || code=$?
    [ $code = 1 ] || { echo "$to: exit $code"; cat "$T/err"; exit 1; }
    grep -q "No space left" "$T/err" || { cat "$T/err"; exit 1; }
    [ -z "$(ls -A "$T/small")" ] || { echo "$to left $(ls -A "$T/small")"; exit 1; }
  done
  code=0
  gantry-convert -q --insecure-options=image --root "$T/small/store" "oci:$T/img:v1" store:web 2>"$T/err" || code=$?
  [ $code = 1 ] || { echo "store: exit $code"; cat "$T/err"; exit 1; }
  gantry-store --root "$T/small/store" list --quiet | grep . && exit 1
  gantry-store --root "$T/small/store" check
' || fail "see above"
