# Debian's podman runs containers with gantry-oci as its runtime.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need podman busybox
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/tree/bin" "$T/tree/etc"
cp "$(command -v busybox)" "$T/tree/bin/busybox"
for name in sh cat id sleep tty touch echo grep; do ln -s busybox "$T/tree/bin/$name"; done
pod() { timeout 60 podman --root "$T/pods" --runroot "$T/pods-run" --storage-driver vfs --cgroup-manager cgroupfs --runtime "$GANTRY_BIN/gantry-oci" "$@"; }
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$XDG_CONFIG_HOME/containers/policy.json"
limits=(--network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
tar -C "$T/tree" -c . | pod import - test:1 >"$T/out" 2>"$T/err" || skip "podman cannot import here: $(tail -n1 "$T/err")"
if ! timeout 60 podman --root "$T/pods" --runroot "$T/pods-run" --storage-driver vfs --cgroup-manager cgroupfs --runtime runc \
  run --rm "${limits[@]}" test:1 true >"$T/out" 2>"$T/err" && ! pod run --rm "${limits[@]}" test:1 id >/dev/null 2>&1; then
  skip "podman cannot run anything here: $(tail -n1 "$T/err")"
fi
at_exit 'pod rm -fa >/dev/null 2>&1'
expect_exit 5 pod run --rm "${limits[@]}" test:1 sh -c 'id; grep Seccomp: /proc/self/status; exit 5'
expect_text '^uid=0' "$T/out"
expect_text '^Seccomp:.2' "$T/out"
expect_exit 127 pod run --rm "${limits[@]}" test:1 no-such-program
expect_exit 126 pod run --rm "${limits[@]}" test:1 /etc
expect_exit 0 pod run --rm -t "${limits[@]}" test:1 tty
expect_text '^/dev/pts/0' "$T/out"
mkdir "$T/volume"
echo hello >"$T/volume/file"
expect_exit 0 pod run --rm "${limits[@]}" -v "$T/volume:/v:ro,z,nocopy" --tmpfs /t --user 1000:1000 --read-only --memory 50m test:1 \
  sh -c 'cat /v/file; touch /t/x && ! touch /v/x && ! touch /x && cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max'
expect_text '^hello$' "$T/out"
expect_text '^52428800$' "$T/out"
expect_exit 0 pod run --rm "${limits[@]}" --uidmap 0:100000:1000 --gidmap 0:100000:1000 test:1 sh -c 'id; cat /proc/self/uid_map'
expect_text '0 +100000 +1000' "$T/out"
pod run -d --name long "${limits[@]}" test:1 sleep 1000 >/dev/null
expect_exit 4 pod exec long sh -c 'exit 4'
expect_exit 0 pod pause long
expect_exit 0 pod unpause long
expect_exit 0 pod top long
expect_exit 0 pod kill long
expect_exit 0 pod wait long
expect_text "^137$" "$T/out"
expect_exit 0 pod rm -f long
