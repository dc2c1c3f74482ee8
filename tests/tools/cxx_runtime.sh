# No program lends its own C++ runtime to a shared library: an exception that is thrown there would be unwound by two of
# them, which aborts. One that links such a library has the shared runtime.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need nm
for program in "$GANTRY_BIN"/gantry*; do
  [ -f "$program" ] || continue
  lent=$(nm -D --defined-only "$program" 2>&1 | grep -E ' (__cxa_throw|__gxx_personality_v0|_Unwind_[A-Za-z]+)(@|$)' || true)
  [ -z "$lent" ] || fail "$program lends $lent"
done
# Which would be seen: this one throws, and has another's.
nm -D "$GANTRY_BIN/gantry-serve" | grep ' U __cxa_throw' >/dev/null || fail "gantry-serve has no shared runtime"
