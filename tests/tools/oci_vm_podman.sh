# Debian's podman asks for a virtual machine by an annotation.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need podman busybox
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/tree/bin" "$T/tree/etc" "$T/volume"
cp "$(command -v busybox)" "$T/tree/bin/busybox"
for name in sh cat id sleep tty touch uname ls; do ln -s busybox "$T/tree/bin/$name"; done
pod() { timeout 100 podman --root "$T/pods" --runroot "$T/pods-run" --storage-driver vfs --cgroup-manager cgroupfs --runtime "$GANTRY_BIN/gantry-oci" "$@"; }
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$XDG_CONFIG_HOME/containers/policy.json"
options=(--network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
tar -C "$T/tree" -c . | pod import - test:1 >"$T/out" 2>"$T/err" || skip "podman cannot import here: $(tail -n1 "$T/err")"
pod run --rm "${options[@]}" test:1 id >"$T/out" 2>"$T/err" || skip "podman cannot run anything here: $(tail -n1 "$T/err")"
options+=(--annotation dev.gantry.isolation=vm --annotation dev.gantry.accel=tcg)
[ ${#kernel[@]} = 1 ] || options+=(--annotation "dev.gantry.kernel=${kernel[2]}")
at_exit 'pod rm -fa >/dev/null 2>&1'

echo hello >"$T/volume/file"
expect_exit 5 pod run --rm -i "${options[@]}" -v "$T/volume:/v" --user 7:8 --memory 128m --hostname inside test:1 \
  sh -c 'cat - /v/file; id -u; uname -n; uname -r; ls /run/.containerenv; exit 5' <<<input
[ "$(head -n4 "$T/out" | xargs)" = 'input hello 7 inside' ] || fail "$(cat "$T/out" "$T/err")"
expect_text '^/run/.containerenv$' "$T/out"
! grep -qxF "$(uname -r)" "$T/out" || fail 'it ran in the kernel of the host'
expect_exit 127 pod run --rm "${options[@]}" test:1 no-such-program
expect_text "executable file not found" "$T/err"
expect_exit 0 pod run --rm -t "${options[@]}" test:1 tty
expect_text '^/dev/pts/0' "$T/out"
pod run -d --name long "${options[@]}" test:1 sh -c 'echo said; sleep 1000' >/dev/null
expect_exit 4 pod exec long sh -c 'exit 4'
expect_exit 0 pod exec -t long tty
expect_text '^/dev/pts/' "$T/out"
expect_exit 0 pod kill long
expect_exit 0 pod wait long
expect_text '^137' "$T/out"
expect_exit 0 pod logs long
expect_text '^said' "$T/out"
pod rm long >/dev/null
