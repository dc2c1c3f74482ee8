# ./dev demo shows the main job, says so without colours when nobody watches, and cleans up.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need docker-registry skopeo gpg

TMPDIR=$T expect_exit 0 bash "$GANTRY_SOURCE_DIR/tests/demo.sh"
expect_text '^hello from gantry$' "$T/out"
expect_text '^\[exit 4\]$' "$T/out"
expect_text 'gantry sign --key' "$T/err"
! grep -q $'\033' "$T/out" || fail "colours without a terminal"
left=$(find "$T" -mindepth 1 -maxdepth 1 -name 'gantry-test-*')
[ -z "$left" ] || fail "left behind: $left"
