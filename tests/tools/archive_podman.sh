#!/bin/bash
# What podman save and buildah push write is read, several images in one file too.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need podman buildah skopeo
[ "$(id -u)" = 0 ] || skip "podman's storage needs root here"
make_busybox_image "$T/img" v1
identity=$(gantry-inspect -q --identity "oci:$T/img:v1")
same() { [ "$(gantry-inspect -q --identity "$1")" = "$identity" ] || fail "$1 is another image"; }
storage=(--root "$T/containers" --runroot "$T/containers-run" --storage-driver vfs)
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$XDG_CONFIG_HOME/containers/policy.json"
skopeo copy -q "oci:$T/img:v1" "containers-storage:[vfs@$T/containers+$T/containers-run]localhost/web:v1"
buildah "${storage[@]}" tag localhost/web:v1 localhost/other:v2
podman "${storage[@]}" save -q -o "$T/podman.tar" localhost/web:v1 2>"$T/err" || fail "$(cat "$T/err")"
same "docker-archive:$T/podman.tar:localhost/web:v1"
podman "${storage[@]}" save -q -m -o "$T/several.tar" localhost/web:v1 localhost/other:v2 2>"$T/err" || fail "$(cat "$T/err")"
same "docker-archive:$T/several.tar:localhost/other:v2"
podman "${storage[@]}" save -q --format oci-archive -o "$T/oci.tar" localhost/web:v1 2>"$T/err" || fail "$(cat "$T/err")"
same "oci-archive:$T/oci.tar"
buildah "${storage[@]}" push -q localhost/web:v1 "docker-archive:$T/buildah.tar:web:v1" 2>"$T/err" || fail "$(cat "$T/err")"
same "docker-archive:$T/buildah.tar:web:v1"
