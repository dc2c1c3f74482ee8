# Every program has a page, every page is clean mdoc, and pages and --help agree on the options.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need mandoc
man=$GANTRY_SOURCE_DIR/man

mandoc -T lint -W warning "$man"/*.[1-8] || fail "mandoc complains"

# Options of a program and of its subcommands, one a line, with their dashes.
offered() {
  local help subcommand
  help=$("$1" --help)
  for subcommand in $(sed -n '/^Subcommands:/,/^$/ s/^  \([a-z][a-z-]*\) .*/\1/p' <<<"$help"); do
    help+=$'\n'$("$1" "$subcommand" --help)
  done
  sed -n 's/^  \(-[^ ]*\).*/\1/p' <<<"$help" | tr , '\n' | sed 's/[=:].*//' | sort -u
}
# Options that a page describes: "Fl x" is -x and "Fl -word" is --word, in list items.
described() {
  sed -n 's/^\.It \(Fl .*\)/\1/p' "$1" | sed 's/ , Fl / , /g' | grep -oE '\bFl [^ ]+( , [^ ]+)*' | sed 's/^Fl //' | tr -d ' ' | tr , '\n' |
    sed 's/^/-/' | sort -u
}

checked=0
shopt -s nullglob
for program in "$GANTRY_BIN"/gantry "$GANTRY_BIN"/gantry-*; do
  page=$man/${program##*/}.1
  [ -e "$page" ] || page=${page%.1}.8
  [ -e "$page" ] || fail "${program##*/} has no page"
  diff <(offered "$program") <(described "$page") >"$T/diff" ||
    fail "${program##*/}: --help (<) and ${page##*/} (>) differ:"$'\n'"$(grep '^[<>]' "$T/diff")"
  checked=$((checked + 1))
done
[ $checked -ge 1 ] || fail "no program found"
