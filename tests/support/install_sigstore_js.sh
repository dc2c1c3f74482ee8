#!/usr/bin/env bash
# install_sigstore_js.sh DIRECTORY: sigstore's own JavaScript (@sigstore/bundle, @sigstore/verify) from npm's registry, in
# DIRECTORY/node_modules, once for all tests. Exit 77 with the reason when it cannot be had.
set -euo pipefail
mkdir -p "$1"
cd "$1"
exec 9>lock
flock 9
[ ! -d node_modules/@sigstore/verify ] || exit 0
for program in node npm; do
  command -v "$program" >/dev/null || { echo "$program is not installed" && exit 77; }
done
rm -rf new
mkdir new
HOME=$PWD/new timeout 60 npm install --prefix new --silent --no-audit --no-fund --ignore-scripts @sigstore/bundle@4 \
  @sigstore/verify@3 @sigstore/protobuf-specs@0.5 >log 2>&1 ||
  { echo "npm cannot install @sigstore/verify: $(tail -n 1 log)" && exit 77; }
mv new/node_modules node_modules
