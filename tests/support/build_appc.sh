#!/usr/bin/env bash
# build_appc.sh PROGRAM DIRECTORY: prints the path of actool, appc's own validator of images, or of ace, its validator of
# executors, which is a static program that runs in a pod: the actool in PATH, or what is built into DIRECTORY (and kept
# there) from Debian's source package. Exit 77 with the reason when neither can be.
set -euo pipefail
program=$1
if [ "$program" = actool ] && command -v actool; then
  exit 0
fi
mkdir -p "$2"
directory=$(cd "$2" && pwd)
exec 9>"$directory/lock"
flock 9
if [ ! -x "$directory/$program" ]; then
  command -v go >/dev/null || { echo "go is not installed" && exit 77; }
  [ -d "/usr/share/gocode/src/github.com/appc/spec/$program" ] ||
    { echo "golang-github-appc-spec-dev is not installed" && exit 77; }
  cd "$directory"
  CGO_ENABLED=0 GO111MODULE=off GOFLAGS="" GOPATH=/usr/share/gocode GOCACHE=$directory/cache \
    go build -o "$program.new" "github.com/appc/spec/$program" >&2
  mv "$program.new" "$program"
  rm -rf cache
fi
echo "$directory/$program"
