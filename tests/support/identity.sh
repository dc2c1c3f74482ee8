# shellcheck shell=bash
# What gantry-identity(5) says about trees, in a shell and without gantry: for tests that compare the two.

# unescape TEXT: its bytes. "\xHH" is a byte, "-" alone is nothing.
unescape() { [ "$1" = - ] || printf '%b' "$1"; }

# escape: stdin as a line has it.
escape() {
  local byte
  for byte in $(od -An -v -tx1); do
    case $byte in
      20 | 3d | 5c | 7f | [0189a-f]?) printf '\\x%s' "$byte" ;;
      *) printf '%b' "\\x$byte" ;;
    esac
  done
}

# make_entry TYPE ...: makes, in the current directory, what a line of a described image says. Needs root.
make_entry() {
  local type=$1 argument=() path xattr
  case $type in
    h) ln -P "$(unescape "$3")" "$(unescape "$2")" && return ;;
    d | p) set -- "$1" "$2" "$3" "$4" "$5" - "${@:6}" ;;
  esac
  path=$(unescape "$5"x) && path=./${path%x}
  mkdir -p "${path%/*}"
  case $type in
    d) mkdir -p "$path" ;;
    f) unescape "$6" >"$path" ;;
    l) ln -s "$(unescape "$6")" "$path" ;;
    p) mkfifo "$path" ;;
    b | c) IFS=, read -ra argument <<<"$6" && mknod "$path" "$type" "${argument[@]}" ;;
  esac
  chown -h "$3:$4" "$path"
  [ "$type" = l ] || chmod "$2" "$path"
  for xattr in "${@:7}"; do
    setfattr -h -n "$(unescape "${xattr%%=*}")" -v "0s$(unescape "${xattr#*=}" | base64 -w0)" "$path"
  done
}

# xattrs_of PATH: a field for each, a blank before it.
xattrs_of() {
  local name value
  getfattr -h -d -m - -e hex -- "$1" 2>/dev/null | LC_ALL=C sort | while IFS= read -r name; do
    case $name in *=0x*) ;; *) continue ;; esac
    value=${name##*=0x}
    printf ' %s=%s' "$(printf %s "${name%=0x*}" | escape)" "$(printf %b "$(sed 's/../\\x&/g' <<<"$value")" | escape)"
  done
}

# tree_lines: the lines of the tree in the current directory.
tree_lines() {
  local inode kind mode uid gid size path name names=()
  find . -printf '%i %y %04m %U %G %s %P\0' | LC_ALL=C sort -z -k7 |
    while IFS=' ' read -rd '' inode kind mode uid gid size path; do
      name=/$(printf %s "$path" | escape)
      if [ "$kind" != d ] && [ -n "${names[inode]-}" ]; then
        printf '%s h %s\n' "$name" "${names[inode]}"
        continue
      fi
      names[inode]=$name
      case $kind in
        f) size=" $size $(sha256sum <"./$path" | cut -d' ' -f1)" ;;
        l) size=" $(readlink -n "./$path" | escape)" ;;
        b | c) size=" $(stat -c %Hr,%Lr "./$path")" ;;
        *) size= ;;
      esac
      printf '%s %s %s %s %s%s%s\n' "$name" "$kind" "$mode" "$uid" "$gid" "$size" "$(xattrs_of "./$path")"
    done
}
