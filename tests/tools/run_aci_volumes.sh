# Volumes of appc at the mount points of an ACI: host and empty ones with owner and mode, read-only, recursive or not; a
# mount point that gets none; one that lies in the image; and what an app is called and told about itself.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -m

mkdir -p "$T/aci/rootfs/bin" "$T/aci/rootfs/full" "$T/host/below" "$T/other"
cp "$(command -v busybox)" "$T/aci/rootfs/bin/busybox"
for name in sh cat stat touch env id; do ln -s busybox "$T/aci/rootfs/bin/$name"; done
echo image >"$T/aci/rootfs/full/file"
touch "$T/other/mounted"
mount --bind "$T/other" "$T/host/below"
at_exit "umount '$T/host/below'"
# aci SHELL_TEXT: $T/app.aci, which executes it.
aci() {
  jq -n --arg text "$1" '{acKind:"ImageManifest",acVersion:"0.8.11",name:"example.com/the_app",app:{exec:["/bin/sh","-c",$text],
    user:"0",group:"0",mountPoints:[{name:"full",path:"/full"},{name:"new",path:"/new/dir"},{name:"ro",path:"/ro",readOnly:true}],
    eventHandlers:[{name:"pre-start",exec:["/bin/sh","-c","env >/before || true"]}]}}' >"$T/aci/manifest"
  tar -C "$T/aci" --owner=0 --group=0 -cf "$T/app.aci" manifest rootfs
}
run=(gantry-run -q --insecure-options=image)

aci 'cat /full/file; stat -c "%u:%g %a" /new/dir; touch /new/dir/x && echo written; touch /ro/x || echo no; stat /ro/below/mounted >/dev/null && echo below'
expect_exit 0 "${run[@]}" -v new,kind=empty,uid=5,gid=6,mode=0711 -v "ro,kind=host,source=$T/host" "aci:$T/app.aci"
[ "$(xargs <"$T/out")" = "image 5:6 711 written no below" ] || fail "$(cat "$T/out" "$T/err")"
aci 'stat /full/file || echo hidden; touch /ro/x && echo written; stat /ro/below/mounted || echo alone; touch /made && echo made'
expect_exit 0 "${run[@]}" -v full,kind=empty -v "ro,kind=host,source=$T/host,recursive=false,readOnly=false" "aci:$T/app.aci"
[ "$(xargs <"$T/out")" = "hidden written alone made" ] || fail "$(cat "$T/out" "$T/err")"
rm "$T/host/x"
# What has no volume is a part of the root, or empty where that cannot be written to.
aci 'touch /full/x && echo written; touch /new/dir/x && echo too; touch /ro/x || echo no; touch /made || echo neither'
expect_exit 0 "${run[@]}" --readonly-rootfs "aci:$T/app.aci"
[ "$(xargs <"$T/out")" = "written too no neither" ] || fail "$(cat "$T/out" "$T/err")"
expect_exit 125 "${run[@]}" -v "full,kind=host,source=$T/none" "aci:$T/app.aci"
expect_text "cannot open the source of volume" "$T/err"

# An empty volume of one app is there as long as its pod, and is what the manifest says.
uuid=$("${run[@]}" prepare -v new,kind=empty,mode=0700 "aci:$T/app.aci")
[ "$(gantry run cat-manifest "$uuid" | jq -c '.volumes, .apps[0].mounts, .apps[0].name')" = \
  "$(jq -nc '[{name:"new",kind:"empty",mode:"0700",uid:0,gid:0}], [{volume:"new",path:"/new/dir"}], "the-app"')" ] ||
  fail "$(gantry run cat-manifest "$uuid")"

# Handlers have the app's environment.
aci 'cat /before; env'
expect_exit 0 "${run[@]}" --mds -e A=1 "aci:$T/app.aci"
for line in AC_APP_NAME=the-app container=gantry A=1 'AC_METADATA_URL=http://127.0.0.1:[0-9]+/[0-9a-f]{32}' \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; do
  [ "$(grep -cEx "$line" "$T/out")" = 2 ] || fail "$line: $(cat "$T/out" "$T/err")"
done
