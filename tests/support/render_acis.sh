# shellcheck shell=bash
# render_acis INTO ACI...: lays ACIs over one another as the App Container specification says, the last one being that
# which depends on the others, with tar, cp and jq alone. Needs $T.

render_acis() {
  local into=$1 aci work path from to
  shift
  mkdir "$into"
  for aci; do
    work=$(mktemp -d "$T/render-XXXXXX")
    tar -C "$work" --xattrs --same-owner -xpf "$aci"
    while IFS= read -r path; do
      from=$work/rootfs/$path to=$into/$path
      if [ -d "$from" ] && [ ! -L "$from" ]; then
        # A link to a directory is replaced, not followed.
        [ -d "$to" ] && [ ! -L "$to" ] || { rm -rf "$to" && mkdir "$to"; }
      else
        rm -rf "$to"
        cp -alT "$from" "$to"
      fi
    done < <(cd "$work/rootfs" && find . | LC_ALL=C sort)
    # Their attributes when nothing in them changes any more; only of those that the ACI has entries for.
    tar tf "$aci" | sed -n '/^rootfs.*\/$/p' | LC_ALL=C sort -r | while IFS= read -r path; do
      from=$work/$path to=$into/${path#rootfs/}
      chown --reference="$from" "$to" && chmod --reference="$from" "$to" && touch --reference="$from" "$to"
    done
    rm -r "$work"  # so that only the names in the tree count
  done
  tar xOf "$aci" manifest | jq -r '.pathWhitelist[]' | LC_ALL=C sort >"$T/whitelist"
  (cd "$into" && find . -mindepth 1 | sed 's/^\.//' | LC_ALL=C sort) | LC_ALL=C comm -13 "$T/whitelist" - |
    while IFS= read -r path; do rm -rf "${into:?}$path"; done
}
