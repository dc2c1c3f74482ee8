# gantry-store check finds every kind of damage and exits 5; nothing is collected from an index that cannot be read.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq

make_busybox_image "$T/good" docker.io/library/one:latest
gantry-store --root "$T/good" gc >"$T/out"
# damage NAME PATTERN: $T/store is a fresh copy; the command on stdin breaks it; check must say PATTERN.
damage() {
  rm -rf "$T/store"
  cp -a "$T/good" "$T/store"
  (cd "$T/store" && . /dev/stdin)
  expect_exit 5 gantry-store check
  expect_text "$1" "$T/out"
  expect_text 'problems?' "$T/err"
  expect_exit 5 gantry-store check --json
  [ "$(jq .sound "$T/out")" = false ] || fail "--json says sound"
}
largest() { printf '%s' 'largest=$(ls -S blobs/sha256 | head -1); '; }
damage 'has the digest sha256:' <<<"$(largest) printf x | dd of=blobs/sha256/\$largest conv=notrunc status=none"
damage 'bytes instead of' <<<"$(largest) : >blobs/sha256/\$largest"
damage 'docker.io/library/one:latest: blob sha256:.* is missing' <<<"$(largest) rm blobs/sha256/\$largest"
damage 'is no blob' <<<': >blobs/sha256/notes'
damage 'does not belong here' <<<': >notes'
damage 'is no rendered layer' <<<'mkdir layers/sha256-12'
damage 'signature-2: is not one of a row' <<<'d=signatures/sha256-'"$(printf a%.0s {1..64})"'; mkdir $d; echo x >$d/signature-2'
damage '/manifests/0/digest' <<<"sed -i 's/sha256:[0-9a-f]*/sha256:..\\/..\\/etc/' index.json"
expect_exit 5 gantry-store list
expect_exit 5 gantry-store gc
expect_text 'index.json' "$T/err"
expect_exit 5 gantry-inspect one
[ "$(find "$T/store/blobs/sha256" -type f | wc -l)" = 5 ] || fail "gc removed blobs although it could not read the index"
damage 'index.json' <<<'rm index.json'
chmod o+w "$T/good"
expect_exit 1 gantry-store --root "$T/good" rm one
expect_text 'chmod go-w' "$T/err"
