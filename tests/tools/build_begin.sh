# A build is begun on a path as acbuild names it: a directory of files, whose owners stay, an ACI, a layout.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
mkdir -p "$T/work" "$T/rootfs/etc" && cd "$T/work"
echo here >"$T/rootfs/etc/file" && chown 5:6 "$T/rootfs/etc/file" && chmod 0711 "$T/rootfs/etc"
gantry build begin "$T/rootfs"
gantry build set-name example.com/files && gantry build set-exec -- /etc/file
gantry build write files.aci >/dev/null && gantry build write oci:files >/dev/null
gantry build end
tar --numeric-owner -tvzf "files/blobs/sha256/$(gantry inspect --raw oci:files | jq -r '.layers[0].digest[7:]')" >list
expect_text '^drwx--x--x 0/0 .* etc/$' list
expect_text '^-rw.* 5/6 .* etc/file$' list
for base in ./files.aci ./files; do
  gantry build begin "$base"
  gantry build copy list /list
  gantry build write --overwrite oci:on >/dev/null
  [ "$(gantry build cat-manifest --format oci | jq '.rootfs.diff_ids | length')" = 2 ] || fail "not on $base"
  gantry build end
done
expect_exit 3 gantry build begin ./nothing
[ ! -e .gantry-build/draft.json ] || fail "a build was begun on nothing"
