# cmake --install puts every program, man page and completion in its standard place, and the programs run from there.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need cmake

DESTDIR=$T cmake --install "$GANTRY_BUILD_DIR" --prefix /usr >"$T/log" 2>&1 || fail "$(cat "$T/log")"
cd "$T/usr"
shopt -s nullglob
for program in "$GANTRY_BIN"/gantry "$GANTRY_BIN"/gantry-*; do
  name=${program##*/}
  [ -x "bin/$name" ] || fail "$name is not installed"
  [ -s "share/man/man1/$name.1" ] || [ -s "share/man/man8/$name.8" ] || fail "the page of $name is not installed"
  cmp -s "share/bash-completion/completions/$name" "$GANTRY_SOURCE_DIR/tools/completions/gantry.bash" || fail "bash $name"
  cmp -s "share/fish/vendor_completions.d/$name.fish" "$GANTRY_SOURCE_DIR/tools/completions/gantry.fish" || fail "fish $name"
  expect_exit 0 "bin/$name" --version
done
for page in "$GANTRY_SOURCE_DIR"/man/*.[1-8]; do
  cmp "$page" "share/man/man${page##*.}/${page##*/}"
done
[ -s share/zsh/vendor-completions/_gantry ] || fail "zsh completion is not installed"
bench=$(find . -name '*test*' -o -name 'bench*' -o -name 'fuzz*')
[ -z "$bench" ] || fail "installed what users do not run: $bench"
