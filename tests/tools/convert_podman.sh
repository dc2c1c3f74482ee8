#!/bin/bash
# podman and buildah load the archives that we write, and podman lists their names.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need podman buildah
[ "$(id -u)" = 0 ] || skip "podman's storage needs root here"
make_busybox_image "$T/img" v1
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$XDG_CONFIG_HOME/containers/policy.json"
storage=(--root "$T/containers" --runroot "$T/containers-run" --storage-driver vfs)
config=$(gantry-inspect --config "oci:$T/img:v1" | sha256sum | cut -d' ' -f1)
gantry-convert -q --insecure-options=image "oci:$T/img:v1" "docker-archive:$T/d.tar:example.com/web:1"
gantry-convert -q --insecure-options=image "oci:$T/img:v1" "oci-archive:$T/o.tar:example.com/oci:2"
podman "${storage[@]}" load -q -i "$T/d.tar" >"$T/out" 2>"$T/err" || fail "podman: $(cat "$T/err")"
expect_text 'example.com/web:1$' "$T/out"
[ "$(podman "${storage[@]}" images --no-trunc -q example.com/web:1)" = "sha256:$config" ] || fail "another image"
podman "${storage[@]}" load -q -i "$T/o.tar" >"$T/out" 2>"$T/err" || fail "podman: $(cat "$T/err")"
buildah "${storage[@]}" pull -q "docker-archive:$T/d.tar:example.com/web:1" >"$T/out" 2>"$T/err" || fail "buildah: $(cat "$T/err")"
expect_text "^$config\$" "$T/out"
