# Debian's containerd runs containers with gantry-oci through its runc shim, and knows the runtime of the manual's
# configuration, which is the handler that a Kubernetes RuntimeClass names.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need containerd ctr busybox
[ "$(id -u)" = 0 ] || skip "root's way"

cat >"$T/config.toml" <<END
version = 2
root = "$T/root"
state = "$T/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$T/socket"
END
# Process 1 of a machine reaps shims that outlive containerd; nobody is to be left here.
containerd --config "$T/config.toml" >"$T/log" 2>&1 &
started_pids+=($!)
for _ in $(seq 100); do ctr --address "$T/socket" version >/dev/null 2>&1 && break || sleep 0.1; done
c() { timeout 60 ctr --address "$T/socket" "$@"; }
c version >"$T/out" 2>&1 || skip "containerd does not run here: $(tail -n1 "$T/log")"
make_busybox_image "$T/image" v1
gantry convert -q --insecure-options=image "oci:$T/image:v1" "oci-archive:$T/image.tar:example/busybox:v1" >/dev/null 2>&1
c images import --snapshotter native "$T/image.tar" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
image=$(c images list -q | head -n1)
how=(--snapshotter native --runc-binary "$GANTRY_BIN/gantry-oci")
if ! c run --rm "${how[@]}" "$image" first true >"$T/out" 2>&1; then
  c run --rm --snapshotter native "$image" other true >/dev/null 2>"$T/err" && fail "$(cat "$T/out")"
  skip "containerd cannot run anything here: $(tail -n1 "$T/err")"
fi
at_exit 'c task rm --force long >/dev/null 2>&1' # of a test that failed

expect_exit 7 c run --rm "${how[@]}" "$image" code sh -c 'id; exit 7'
expect_text '^uid=0' "$T/out"
expect_exit 1 c run --rm "${how[@]}" "$image" missing no-such-program
expect_text 'no-such-program.*executable file not found' "$T/err"
expect_exit 0 c run --detach "${how[@]}" --memory-limit 50003968 "$image" long sleep 1000
expect_exit 0 c task metrics long
expect_text '50003968' "$T/out"
expect_exit 4 c task exec --exec-id one long sh -c 'exit 4'
expect_exit 0 c task pause long
c task list >"$T/out"
expect_text '^long .*PAUSED' "$T/out"
expect_exit 0 c task resume long
expect_exit 0 c task ps long
expect_exit 1 c task checkpoint long
expect_text 'checkpoints are not supported' "$T/err"
expect_exit 0 c task kill --signal KILL long
for _ in $(seq 100); do c task list | grep -q STOPPED && break || sleep 0.05; done
c task rm long >/dev/null 2>&1 || true # which passes the code on
expect_exit 0 c container rm long
[ -z "$(c container list -q)" ] || fail "left: $(c container list -q)"
[ -z "$(ls -A "$T/state/io.containerd.runtime.v2.task/default" 2>/dev/null)" ] || fail "a task is left"

# The manual's configuration, of containerd 1.x, which is Debian's.
sed -n '/^version = 2$/,/^\.Ed$/p' "$GANTRY_SOURCE_DIR/man/gantry-oci.8" | grep -v '^\.Ed' >"$T/manual.toml"
containerd --config "$T/manual.toml" config dump >"$T/dump" 2>"$T/err" || fail "$(cat "$T/err")"
sed -n '/runtimes\.gantry\]/,/^ *\[plugins.*runtimes\.runc\]/p' "$T/dump" >"$T/runtime"
expect_text 'runtime_type = "io.containerd.runc.v2"' "$T/runtime"
expect_text 'BinaryName = "/usr/local/bin/gantry-oci"' "$T/runtime"
expect_text '^handler: gantry$' "$GANTRY_SOURCE_DIR/man/gantry-oci.8"
