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

# An input that is no terminal has an end, and a terminal has none: whoever reads there would wait for ever.
run=(gantry-run --insecure-options=image)
for input in /dev/null "$T/said"; do
  expect_exit 125 timeout -k 1 20 "${run[@]}" -it "oci:$T/image" <"$input"
  expect_text 'standard input is not a terminal, and -i and -t are both given' "$T/err"
  expect_text 'leave -t out to pipe input in, or -i out when there is none' "$T/err"
done
expect_exit 125 "${run[@]}" -it "oci:$T/no-such" <"$T/said" # before anything is looked for
expect_text 'is not a terminal' "$T/err"
expect_exit 0 "${run[@]}" -q -i "oci:$T/image" cat <<<hello
expect_text '^hello$' "$T/out"
expect_exit 0 "${run[@]}" -q -t "oci:$T/image" tty </dev/null
expect_text '^/dev/pts/0' "$T/out"
prepared=$("${run[@]}" -q prepare -it "oci:$T/image")
expect_exit 125 timeout -k 1 20 gantry-run --insecure-options=image run-prepared "$prepared" </dev/null
expect_text 'is not a terminal' "$T/err"
gantry-run rm "$prepared" >/dev/null

# Detached, it waits for whoever attaches.
uuid=$("${run[@]}" -q -d -it "oci:$T/image" </dev/null)
expect_exit 125 timeout -k 1 20 gantry-run enter -it "$uuid" sh </dev/null
expect_text 'is not a terminal' "$T/err"
expect_exit 3 timeout -k 1 20 gantry-run attach "$uuid" <<<'exit 3'
gantry-run rm "$uuid" >/dev/null
