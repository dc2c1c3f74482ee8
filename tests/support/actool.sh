# shellcheck shell=bash
# need_actool: sets $actool to the appc project's own validator (build_actool.sh), or skips the test.

need_actool() {
  local status=0
  actool=$(bash "$(dirname "${BASH_SOURCE[0]}")/build_actool.sh" "${GANTRY_BUILD_DIR:-$T}/actool" 2>"$T/actool.err") || status=$?
  [ "$status" != 77 ] || skip "$actool"
  [ "$status" = 0 ] || fail "actool does not build: $(cat "$T/actool.err")"
}
