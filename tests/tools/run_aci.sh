# The app of an ACI runs as appc says: handlers, isolators, mount points; what it cannot get is told, and --strict refuses.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/aci/rootfs/bin"
cp "$(command -v busybox)" "$T/aci/rootfs/bin/busybox"
for name in sh cat grep echo mkdir id touch; do ln -s busybox "$T/aci/rootfs/bin/$name"; done
cat >"$T/aci/manifest" <<'END'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app","labels":[{"name":"os","value":"linux"}],
 "app":{"exec":["/bin/sh","-c","cat /prestart; echo $AC_APP_NAME; grep CapEff /proc/self/status; mkdir /x || echo refused; cat /data/in; touch /data/out || echo read-only"],
  "user":"0","group":"0","supplementaryGIDs":[77],
  "eventHandlers":[{"name":"pre-start","exec":["/bin/sh","-c","echo prestart >/prestart"]},
                   {"name":"post-stop","exec":["/bin/sh","-c","id -G >/shared/poststop"]}],
  "mountPoints":[{"name":"data","path":"/data","readOnly":true},{"name":"shared","path":"/shared"}],
  "isolators":[{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_CHOWN","CAP_SYS_ADMIN"]}},
   {"name":"os/linux/seccomp-remove-set","value":{"set":["mkdir","mkdirat"],"errno":"ENOSYS"}},
   {"name":"resource/network-bandwidth","value":{"limit":"1G"}}]}}
END
tar -C "$T/aci" --owner=0 --group=0 -cf "$T/app.aci" manifest rootfs
mkdir "$T/data" "$T/shared"
echo from-the-host >"$T/data/in"
run=(gantry-run --insecure-options=image --name me -v "data,kind=host,source=$T/data" -v "shared,kind=host,source=$T/shared")
expect_exit 0 "${run[@]}" "aci:$T/app.aci"
[ "$(xargs <"$T/out")" = "prestart me CapEff: 0000000000000001 refused from-the-host read-only" ] || fail "$(cat "$T/out" "$T/err")"
expect_text 'network-bandwidth' "$T/err"
expect_text 'CAP_SYS_ADMIN' "$T/err"
[ "$(cat "$T/shared/poststop")" = 0 ] || fail "no post-stop handler"
expect_exit 125 "${run[@]}" --strict "aci:$T/app.aci"
expect_text 'wants what it cannot get' "$T/err"
expect_exit 0 "${run[@]}" -v unused,kind=empty --cap-add SYS_ADMIN "aci:$T/app.aci"
expect_text 'nothing has a mount point' "$T/err"
expect_text '^CapEff:.0000000000200001$' "$T/out"
sed -i 's|echo prestart >/prestart|exit 3|' "$T/aci/manifest"
tar -C "$T/aci" --owner=0 --group=0 -cf "$T/bad.aci" manifest rootfs
expect_exit 125 "${run[@]}" "aci:$T/bad.aci"
expect_text 'pre-start handler.*it ended with 3' "$T/err"

# What cat-manifest prints runs again as it ran.
gantry convert -q --insecure-options=image "aci:$T/app.aci" "oci:$T/layout:v1" 2>/dev/null || fail "convert"
uuid=$(gantry run -q --insecure-options=image prepare --name again -e X=1 -v "data,kind=host,source=$T/data" "oci:$T/layout:v1")
gantry run cat-manifest "$uuid" >"$T/pod"
expect_exit 0 gantry run --insecure-options=image --pod-manifest "$T/pod"
expect_text '^again$' "$T/out"
expect_text '^from-the-host$' "$T/out"
expect_text '^CapEff:.0000000000000001$' "$T/out"
