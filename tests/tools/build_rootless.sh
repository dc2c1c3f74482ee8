# An ordinary user builds, runs and writes, in a user namespace of one id if there is no range.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
make_busybox_image "$T/base" v1
accept_anything
as_user true
[ "$(id -u)" = 0 ] || mkdir -p "$T/user"
cp -r "$T/base" "$T/user/base"
chmod -R a+rX "$T/user/base"
[ "$(id -u)" != 0 ] || chown -R 65534:65534 "$T/user/base"
as_user unshare -U true 2>/dev/null || skip "no user namespaces for ordinary users here"
[ "$(id -u)" = 0 ] || cd "$T/user"

as_user gantry build begin oci:base:v1
as_user gantry build run -- sh -c 'id -u >/who; rm /etc/group; mkdir -p /a/b'
as_user gantry build copy base/oci-layout /copied
as_user gantry build set-name example.com/rootless
as_user gantry build set-exec -- sh -c 'cat /who; ls -d /a/b /copied; test ! -e /etc/group'
as_user gantry build write oci:made:v1 >/dev/null
as_user gantry build write made.aci >/dev/null
as_user gantry build abort
[ -z "$(as_user ls -A .gantry-build 2>/dev/null)" ] || fail "something is left"
as_user gantry run -q oci:made:v1 >"$T/got"
[ "$(tr '\n' ' ' <"$T/got")" = '0 /a/b /copied ' ] || fail "$(cat "$T/got")"
