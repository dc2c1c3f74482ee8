# Every source file is as clang-format 14 writes it. Other versions differ, and are not asked.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need clang-format
[[ $(clang-format --version) == *' version 14.'* ]] || skip "clang-format is not version 14"

cd "$GANTRY_SOURCE_DIR"
find libimage libsign runner serve tools tests -name '*.cc' -o -name '*.h' >"$T/files"
[ "$(wc -l <"$T/files")" -gt 20 ] || fail "found too few files"
xargs clang-format --dry-run -Werror <"$T/files" || fail "run clang-format -i on the files above"
