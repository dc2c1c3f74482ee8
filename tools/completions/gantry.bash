# bash completion for gantry and gantry-VERB. What there is to complete is read from --help, so it is never stale.
# shellcheck shell=bash

# _gantry_help COMMAND...: its --help.
_gantry_help() { command "$@" --help 2>/dev/null; }

# _gantry_section TITLE: the first words of that section of a --help on stdin.
_gantry_section() { sed -n "/^$1:/,/^\$/ s/^  \\([a-z][a-z0-9-]*\\) .*/\\1/p"; }

# _gantry_options: the long and short options of a --help on stdin.
_gantry_options() { sed -n 's/^  \(-[^ ]*\).*/\1/p' | tr , '\n' | sed 's/[=:].*//'; }

# _gantry_names: what the store holds, one name a line.
_gantry_names() { command gantry-store list --quiet 2>/dev/null; }

_gantry() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=() command=("$1") i help
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == [a-z]* ]] && words+=("${COMP_WORDS[i]}")
  done
  case $1 in
    gantry | */gantry)
      if [[ $COMP_CWORD == 1 || ${words[*]} == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_gantry_help "$1" | _gantry_section Verbs) help --help --version" -- "$current")
        return
      fi
      command=("$1" "${words[0]}")
      words=("${words[@]:1}")
      ;;
  esac
  case $previous in
    --insecure-options)
      mapfile -t COMPREPLY < <(compgen -W "image http tls" -- "$current")
      return
      ;;
    --net | --network)
      mapfile -t COMPREPLY < <(compgen -W "host none private" -- "$current")
      return
      ;;
    --platform)
      mapfile -t COMPREPLY < <(compgen -W "linux/amd64 linux/arm64 linux/arm/v7 linux/386 linux/ppc64le linux/riscv64 linux/s390x" -- "$current")
      return
      ;;
  esac
  help=$(_gantry_help "${command[@]}")
  local subcommands
  subcommands=$(_gantry_section Subcommands <<<"$help")
  if [[ -n $subcommands ]]; then
    if [[ ${#words[@]} == 0 && $current != -* ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$subcommands" -- "$current")
      return
    fi
    [[ ${#words[@]} == 0 ]] || help+=$'\n'$(_gantry_help "${command[@]}" "${words[0]}")
  fi
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_gantry_options <<<"$help")" -- "$current")
  else
    # Readline splits words at colons; what it already has is not repeated.
    local typed=${COMP_LINE:0:COMP_POINT} colons
    typed=${typed##* }
    colons=${typed%"${typed##*:}"}
    mapfile -t COMPREPLY < <(compgen -W "$(_gantry_names)" -- "$typed")
    COMPREPLY=("${COMPREPLY[@]#"$colons"}")
  fi
}

complete -o default -o bashdefault -F _gantry \
  gantry \
  gantry-build \
  gantry-convert \
  gantry-diff \
  gantry-fetch \
  gantry-generate \
  gantry-inspect \
  gantry-keygen \
  gantry-login \
  gantry-logout \
  gantry-oci \
  gantry-push \
  gantry-run \
  gantry-serve \
  gantry-sign \
  gantry-store \
  gantry-sync \
  gantry-tags \
  gantry-trust \
  gantry-verify
