# Debian's buildah runs the steps of a build with gantry-oci as its runtime.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need buildah busybox
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/context/tree/bin"
cp "$(command -v busybox)" "$T/context/tree/bin/busybox"
for name in sh cat id echo; do ln -s busybox "$T/context/tree/bin/$name"; done
cat >"$T/context/Dockerfile" <<'END'
FROM scratch
COPY tree /
RUN echo built >/made && cat /made
RUN id && exit 0
END
build() {
  timeout 100 buildah --root "$T/store" --runroot "$T/run-store" --storage-driver vfs --cgroup-manager cgroupfs bud \
    --network none --isolation oci --runtime "$1" --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 -t built "$T/context"
}
if ! build "$GANTRY_BIN/gantry-oci" >"$T/out" 2>"$T/err"; then
  ! build runc >/dev/null 2>"$T/err.runc" && skip "buildah cannot build here: $(tail -n1 "$T/err.runc")"
  fail "$(cat "$T/err")"
fi
expect_text '^built$' "$T/out"
expect_text '^uid=0' "$T/out"
