# A build begins on an image of any transport and any format, as well compressed as not, and what it adds is the same on
# each; what comes out is pushed into a registry, where others read it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
start_registry
push "$T/base:v1" base/oci:v1
push "$T/base:v1" base/docker:v1 --format v2s2
push "$T/base:v1" base/zstd:v1 --dest-compress-format zstd
mkdir "$T/work" && cd "$T/work"
for to in oci-archive:base.tar:v1 docker-archive:docker.tar:example.com/base:v1 store:example.com/base:v1; do
  gantry convert -q "oci:$T/base:v1" "$to" >/dev/null
done
gantry convert -q --name example.com/base "oci:$T/base:v1" aci:base.aci >/dev/null
: >ids
for base in "docker://$registry/base/oci:v1" "docker://$registry/base/docker:v1" "docker://$registry/base/zstd:v1" "oci:$T/base:v1" \
  oci-archive:base.tar:v1 docker-archive:docker.tar:example.com/base:v1 store:example.com/base:v1 example.com/base:v1 aci:base.aci; do
  gantry build -q begin "$base" || fail "begin $base"
  gantry build run -- sh -c 'echo built >/opt/built; rm /opt/first'
  gantry build set-exec -- sh -c 'cat /opt/built; ls /opt /etc/removed; id -u'
  gantry build -q write oci:"out-$(wc -l <ids)" >/dev/null
  layer=$(gantry build cat-manifest --format oci | jq -r '.rootfs.diff_ids[-1]')
  echo "$layer" >>ids
  [ "$(gantry run -q "oci:out-$(($(wc -l <ids) - 1))" 2>/dev/null | tr '\n' ' ')" = 'built /opt: built second 0 ' ] || fail "on $base: $(gantry run -q "oci:out-$(($(wc -l <ids) - 1))" 2>&1)"
  gantry build end
done
[ "$(sort -u ids | wc -l)" = 1 ] || fail "another layer on another base: $(cat ids)"

gantry build -q begin "docker://$registry/base/oci:v1"
gantry build set-exec -- true
gantry build -q push "docker://$registry/made/oci:v1" >/dev/null
gantry build -q push --format docker --squash "docker://$registry/made/docker:v1" >/dev/null
gantry build end
skopeo inspect --tls-verify=false --raw "docker://$registry/made/oci:v1" | jq -e '.layers | length == 3' >/dev/null || fail "not what was pushed"
[ "$(skopeo inspect --tls-verify=false --raw "docker://$registry/made/docker:v1" | jq -r .mediaType)" = application/vnd.docker.distribution.manifest.v2+json ] ||
  fail "not Docker's format: $(skopeo inspect --tls-verify=false --raw "docker://$registry/made/docker:v1")"
expect_exit 0 skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$registry/made/docker:v1" "dir:$T/copied"
