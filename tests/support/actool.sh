# shellcheck shell=bash
# need_actool, need_ace: set $actool or $ace to the appc project's own validator of images or of executors
# (build_appc.sh), or skip the test.

need_actool() {
  build_appc actool
  actool=$built
}
need_ace() {
  build_appc ace
  ace=$built
}

build_appc() {
  local status=0
  built=$(bash "$(dirname "${BASH_SOURCE[0]}")/build_appc.sh" "$1" "${GANTRY_BUILD_DIR:-$T}/$1" 2>"$T/$1.err") || status=$?
  [ "$status" != 77 ] || skip "$built"
  [ "$status" = 0 ] || fail "$1 does not build: $(cat "$T/$1.err")"
}
