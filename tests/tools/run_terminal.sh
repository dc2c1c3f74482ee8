# -it gives the container a terminal of its own that follows ours: its size, its resizes, ^C, and its end.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox expect
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh stty tty cat sleep; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"

IMAGE=$T/image expect -f "$(dirname "$0")/../support/terminal.exp" gantry-run -q --insecure-options=image >"$T/said" || fail "$(cat "$T/said")"

# What is piped in arrives, and its end is the end of file.
expect_exit 0 gantry-run -q --insecure-options=image -it "oci:$T/image" cat <<<'hello'
expect_text 'hello' "$T/out"
