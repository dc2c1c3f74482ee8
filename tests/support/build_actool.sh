#!/usr/bin/env bash
# build_actool.sh DIRECTORY: prints the path of an actool, appc's own validator: the one in PATH, or one that is built into
# DIRECTORY (and kept there) from Debian's source package. Exit 77 with the reason when neither can be.
set -euo pipefail
if command -v actool; then
  exit 0
fi
mkdir -p "$1"
directory=$(cd "$1" && pwd)
exec 9>"$directory/lock"
flock 9
if [ ! -x "$directory/actool" ]; then
  command -v go >/dev/null || { echo "go is not installed" && exit 77; }
  [ -d /usr/share/gocode/src/github.com/appc/spec/actool ] ||
    { echo "golang-github-appc-spec-dev is not installed" && exit 77; }
  cd "$directory"
  GO111MODULE=off GOFLAGS="" GOPATH=/usr/share/gocode GOCACHE=$directory/cache go build -o actool.new \
    github.com/appc/spec/actool >&2
  mv actool.new actool
  rm -rf cache
fi
echo "$directory/actool"
