# Progress: bars on a terminal, plain lines elsewhere, nothing with -q, and never a byte of it on stdout.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need script skopeo docker-registry

make_busybox_image "$T/image" v1
start_registry
push "$T/image:v1" test/progress:v1
fetch="gantry-fetch --insecure-options=image docker://$registry/test/progress:v1"

# shellcheck disable=SC2086 # words
expect_exit 0 $fetch
expect_text '^[0-9a-f]{12}: done, [0-9.]+ [KM]?i?B$' "$T/err"
! grep -q $'\033' "$T/err" || fail "a terminal's codes without a terminal"
[ "$(wc -l <"$T/out")" = 1 ] || fail "stdout is not one line: $(cat "$T/out")"

rm -r "$GANTRY_ROOT"
# shellcheck disable=SC2086
expect_exit 0 $fetch -q
! grep -q 'done' "$T/err" || fail "progress with -q: $(cat "$T/err")"

rm -r "$GANTRY_ROOT"
TERM=xterm script -qec "stty cols 100 rows 24; $fetch >$T/stdout" "$T/screen" >/dev/null </dev/null
expect_text '[0-9a-f]{12}: done, ' "$T/screen"
expect_text '@sha256:' "$T/stdout"
! grep -q 'done' "$T/stdout" || fail "progress on stdout"

rm -r "$GANTRY_ROOT"
TERM=dumb script -qec "$fetch >$T/stdout" "$T/screen" >/dev/null </dev/null
! grep -q $'\033\\[.*A' "$T/screen" || fail "codes on a dumb terminal"
