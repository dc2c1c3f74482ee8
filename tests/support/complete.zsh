# complete.zsh DIRECTORY TYPED SHOWN [TYPED SHOWN]...: in an interactive zsh with completions of DIRECTORY, types each
# TYPED and the tab key, and waits until SHOWN is on the line.
zmodload zsh/zpty
directory=$1
shift

TERM=vt100 zpty -b shell zsh -f -i
await() {
  local i chunk
  for i in {1..500}; do
    while zpty -r -t shell chunk; do
      shown+=$chunk
    done
    [[ $shown == *$1* ]] && { shown=; return; }
    sleep 0.02
  done
  print -ru2 -- "'$1' never appeared in ${(V)shown}"
  exit 1
}

zpty -w shell "fpath=(${(q)directory} \$fpath); autoload -U compinit; compinit -u -D; print -r REA''DY"
await READY
while (( $# )); do
  zpty -w -n shell "$1"$'\t'
  await $2
  shift 2
done
zpty -d shell
