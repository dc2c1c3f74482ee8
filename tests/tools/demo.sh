# ./dev demo shows the main job, says so without colours when nobody watches, and cleans up.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need docker-registry skopeo gpg curl

TMPDIR=$T expect_exit 0 bash "$GANTRY_SOURCE_DIR/tests/demo.sh"
[ "$(grep -c '^hello from gantry$' "$T/out")" = 1 ] || fail "did not run: $(cat "$T/out")"
[ "$(grep -c '^hello from a build$' "$T/out")" = 1 ] || fail "what was built did not run by its appc name: $(cat "$T/out")"
expect_text '^\[exit 4\]$' "$T/out"
expect_text 'gantry sign --key' "$T/err"
! grep -q $'\033' "$T/out" || fail "colours without a terminal"
left=$(find "$T" -mindepth 1 -maxdepth 1 -name 'gantry-test-*')
[ -z "$left" ] || fail "left behind: $left"
