# files:DIR gets the files of an artifact under their titles, whole or not at all; what a hostile title asks for is refused with
# nothing written.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
accept_anything
cd "$T"
echo one >one.txt && echo two >two.txt
make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt deep/er/two.txt=two.txt ./dot.txt=two.txt >/dev/null
expect_exit 0 gantry convert "oci:$T/layout:v1" files:got/here
cmp one.txt got/here/one.txt && cmp two.txt got/here/deep/er/two.txt && cmp two.txt got/here/dot.txt
[ "$(find got/here | wc -l)" = 6 ] || fail "more was written: $(find got/here)"
expect_exit 0 gantry convert "oci:$T/layout:v1" "store:localhost/a:v1"
expect_exit 0 gantry convert --json localhost/a:v1 files:again
jq -e '.files == ["one.txt", "deep/er/two.txt", "dot.txt"]' "$T/out" >/dev/null || fail "$(cat "$T/out")"

# Nothing is replaced unless that is asked for, and no link is followed.
expect_exit 1 gantry convert localhost/a:v1 files:again
expect_text 'give --overwrite' "$T/err"
rm -r again/deep && mkdir elsewhere && ln -s "$T/elsewhere" again/deep && ln -sf "$T/elsewhere/file" again/one.txt
expect_exit 1 gantry convert --overwrite localhost/a:v1 files:again
[ -z "$(ls -A elsewhere)" ] || fail "a link was followed"
rm again/deep
expect_exit 0 gantry convert --overwrite localhost/a:v1 files:again
[ -z "$(ls -A elsewhere)" ] && [ ! -L again/one.txt ] && [ "$(find again -name '.*' | wc -l)" = 0 ] || fail "$(find again elsewhere)"

# Without room for one of them none appears; and a directory that was made, with those above it, goes again.
mkdir -p taken/deep/er/two.txt
for overwrite in '' --overwrite; do
  expect_exit 1 gantry convert $overwrite localhost/a:v1 files:taken
  [ "$(find taken | wc -l)" = 4 ] || fail "$(find taken)"
done

# What is missing or damaged leaves nothing; what has no title goes by its digest.
cp -r layout damaged
echo TWO >"damaged/blobs/sha256/$(sha256sum <two.txt | cut -d' ' -f1)"
for into in none none/deep/er "$T/none/deep"; do
  expect_exit 5 gantry convert oci:damaged:v1 "files:$into"
  [ ! -e none ] || fail "something is there: $(find none)"
done
make_artifact "$T/untitled" v1 application/vnd.example.v1 =one.txt >/dev/null
expect_exit 0 gantry convert oci:untitled:v1 files:by-digest
cmp one.txt "by-digest/sha256-$(sha256sum <one.txt | cut -d' ' -f1)"

for title in /etc/x ../x a/../x a//x a/ . .. one.txt/x $'line\nfeed' $'bell\a' $'del\x7f' $'\u009b31m' $'\u202etxt' .gantry-files-1/x "$(printf 'x%.0s' {1..256})"; do
  make_artifact "$T/hostile" v1 application/vnd.example.v1 one.txt "$title=two.txt" >/dev/null
  expect_exit 5 gantry convert oci:hostile:v1 files:none
  [ ! -e none ] && [ ! -e x ] || fail "$title wrote something"
done
make_artifact "$T/hostile" v1 application/vnd.example.v1 one.txt one.txt=two.txt >/dev/null
expect_exit 5 gantry convert oci:hostile:v1 files:none
make_artifact "$T/empty" v1 application/vnd.example.v1 >/dev/null
expect_exit 3 gantry convert oci:empty:v1 files:none
[ ! -e none ] || fail "something is there"
mkdir tree && make_image "$T/image" v1 '{}' tree
expect_exit 7 gantry convert oci:image:v1 files:none
expect_exit 7 gantry convert files:again oci:none
