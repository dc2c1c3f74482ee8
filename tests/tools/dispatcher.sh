# gantry VERB becomes gantry-VERB with the arguments as typed; what is not a verb is refused with the nearest ones.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"

mkdir "$T/path" "$T/beside"
cp "$GANTRY_BIN/gantry" "$T/beside/gantry"
printf '#!/bin/sh\nprintf "<%%s>" "$0" "$@"; exit 42\n' >"$T/path/gantry-hello"
chmod +x "$T/path/gantry-hello"
export PATH="$T/path:$PATH"

expect_exit 42 "$T/beside/gantry" hello -q -- '--x y' ''
[ "$(cat "$T/out")" = "<$T/path/gantry-hello><-q><--><--x y><>" ] || fail "arguments changed: $(cat "$T/out")"
expect_exit 42 "$T/beside/gantry" help hello
expect_text '<--help>' "$T/out"
printf '#!/bin/sh\necho beside\n' >"$T/beside/gantry-hello"
chmod +x "$T/beside/gantry-hello"
expect_exit 0 "$T/beside/gantry" hello
expect_text '^beside$' "$T/out"

expect_exit 2 gantry fecth
expect_text "'fecth' is not a verb" "$T/err"
expect_text "did you mean 'fetch'" "$T/err"
expect_exit 2 gantry ../gantry-hello
expect_exit 2 gantry --nonsense
expect_exit 2 gantry
expect_text '^Usage: gantry VERB' "$T/err"
PATH=/nowhere expect_exit 3 "$T/beside/gantry" run x

expect_exit 0 gantry --help
for program in "$GANTRY_BIN"/gantry-*; do
  expect_text "^  ${program##*/gantry-} +[a-z]" "$T/out"
done
