# shellcheck shell=bash
# need_actool: sets $actool to the appc project's own validator, built once out of Debian's source package
# golang-github-appc-spec-dev, or skips the test.

need_actool() {
  local cache=${GANTRY_BUILD_DIR:-$T}/actool source=/usr/share/gocode/src/github.com/appc/spec/actool
  actool=$(command -v actool || echo "$cache")
  [ ! -x "$actool" ] || return 0
  need go
  [ -d "$source" ] || skip "the package golang-github-appc-spec-dev is not installed"
  GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS=-buildvcs=false GOCACHE=$T/go-cache \
    go build -o "$cache.$$" github.com/appc/spec/actool || skip "actool does not build here"
  mv "$cache.$$" "$cache"
  actool=$cache
}
