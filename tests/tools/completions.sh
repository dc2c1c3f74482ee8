# The completions of bash, zsh and fish parse, and offer verbs, subcommands, long options and names in the store.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need zsh fish
completions=$GANTRY_SOURCE_DIR/tools/completions

bash -n "$completions/gantry.bash"
zsh -n "$completions/_gantry"
fish -n "$completions/gantry.fish"

# Stand-ins, so that the expected words are known whatever the real programs offer.
mkdir "$T/bin"
cp "$GANTRY_BIN/gantry" "$T/bin"
cat >"$T/bin/gantry-store" <<'END'
#!/bin/sh
case "$*" in
  'list --quiet') echo 127.0.0.1:5000/a:v1 ;;
  rm*) printf 'Options:\n  -f,--force   now\n' ;;
  *) printf 'Options:\n  -h,--help   print\n  --root DIR   it\n\nSubcommands:\n  list   all\n  rm     one\n' ;;
esac
END
chmod +x "$T/bin/gantry-store"
export PATH="$T/bin:$PATH"

check() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

. "$completions/gantry.bash"
in_bash() {
  COMP_LINE=$1 COMP_POINT=${#1}
  IFS=' ' read -r -a COMP_WORDS <<<"${1//:/ : }"
  [[ $1 == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _gantry "${COMP_WORDS[0]}"
  echo "${COMPREPLY[*]}"
}
check bash "$(in_bash 'gantry sto')" store
check bash "$(in_bash 'gantry store ')" 'list rm'
check bash "$(in_bash 'gantry-store --r')" --root
check bash "$(in_bash 'gantry store rm --f')" --force
check bash "$(in_bash 'gantry store rm 127.0.0.1:50')" 5000/a:v1

in_fish() { fish -c "source '$completions/gantry.fish'; complete -C'$1'" | cut -f1 | xargs; }
check fish "$(in_fish 'gantry sto')" store
check fish "$(in_fish 'gantry store ')" 'list rm'
check fish "$(in_fish 'gantry-store --r')" --root
check fish "$(in_fish 'gantry store rm --f')" --force
check fish "$(in_fish 'gantry store rm 127.0.0.1:50')" 127.0.0.1:5000/a:v1

timeout 60 zsh -f "$GANTRY_SOURCE_DIR/tests/support/complete.zsh" "$completions" \
  'gantry sto' 'gantry store' 'r' ' rm' '--f' '--force' || fail zsh
