# Every failure says in one line what and why, and in one more what to do; and the exit code is that of gantry(1).
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"

# says CODE PATTERN COMMAND...: it fails with two lines, of which the first matches.
says() {
  local code=$1 pattern=$2
  shift 2
  expect_exit "$code" "$@"
  expect_text "^gantry-[a-z]+: $pattern" "$T/err"
  [ "$(wc -l <"$T/err")" = 2 ] || fail "not two lines: $(cat "$T/err")"
  expect_text '^  [^ ]' <(sed -n 2p "$T/err")
}

says 2 "'frob' is not a command" gantry-store frob
says 2 'a subcommand is required' gantry-store
says 2 "invalid image name 'docker://Foo'" gantry-fetch docker://Foo
says 125 "(there is no network 'lan'|CNI networks need root)" gantry-run --net lan oci:x
says 2 "gantry run gc knows no '--all'" gantry-run gc --all
says 2 "gantry run list knows no 'x'" gantry-run list x
says 3 "no image 'absent'" gantry-inspect absent
says 3 "open '/nowhere'" gantry-verify --policy /nowhere oci:x
says 3 "'appc:example.com/x' is not in the store" gantry-inspect appc:example.com/x

echo '{"default":[{"type":"reject"}],"default":[]}' >"$T/twice"
says 5 ".*a second member 'default'" gantry-verify --policy "$T/twice" oci:x

mkdir -p "$T/tree"
make_image "$T/image" v1 '{"Cmd":["/etc"]}' "$T/tree"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$policy"
says 3 'open' gantry-convert -q "oci:$T/image" "aci:$T/nowhere/x.aci"
says 127 "cannot execute '/bin/absent'" gantry-run -q "oci:$T/image" /bin/absent
says 126 "cannot execute '/etc'" gantry-run -q "oci:$T/image"
