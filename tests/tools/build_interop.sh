# Other tools read what is built: skopeo, umoci, and as far as they are installed buildah, podman and actool. A layer
# has what changed and nothing else.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo umoci jq
[ "$(id -u)" = 0 ] || skip "needs root"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' | tee "$policy" >"$XDG_CONFIG_HOME/containers/policy.json"
make_busybox_image "$T/base" v1
cd "$T"
gantry build begin "oci:$T/base:v1"
gantry build set-name example.com/interop
gantry build set-exec -- /bin/true
gantry build run -- sh -c 'echo new >/opt/new; rm /opt/second; touch /opt/first; cat /etc/passwd >/etc/p2; mv /etc/p2 /etc/passwd'
gantry build write oci:out:v1 >/dev/null
gantry build write out.aci >/dev/null
gantry build write docker-archive:out.tar:example.com/interop:v1 >/dev/null
gantry build end

manifest=out/blobs/sha256/$(jq -r '.manifests[0].digest' out/index.json | cut -d: -f2)
layer=$(jq -r '.layers[-1].digest' "$manifest" | cut -d: -f2)
tar -tzf "out/blobs/sha256/$layer" >names
printf 'opt/\nopt/.wh.second\nopt/new\n' >want
diff want names || fail "the layer is not what changed"

skopeo copy -q oci:out:v1 dir:skopeo-oci || fail "skopeo does not read the layout"
skopeo copy -q docker-archive:out.tar dir:skopeo-docker || fail "skopeo does not read the archive"
umoci unpack --image out:v1 bundle >/dev/null 2>&1 || fail "umoci does not read the layout"
[ -e bundle/rootfs/opt/new ] && [ ! -e bundle/rootfs/opt/second ] || fail "umoci sees another tree"
if actool=$(bash "$GANTRY_SOURCE_DIR/tests/support/build_appc.sh" actool "${GANTRY_BUILD_DIR:-$T}/actool" 2>/dev/null); then
  "$actool" validate out.aci || fail "actool does not read the ACI"
fi
if command -v buildah >/dev/null; then
  buildah --root "$T/buildah" --runroot "$T/buildah-run" --storage-driver vfs pull -q oci:out:v1 >/dev/null ||
    fail "buildah does not read the layout"
fi
if command -v podman >/dev/null; then
  podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs load -q -i out.tar >/dev/null ||
    fail "podman does not read the archive"
fi
