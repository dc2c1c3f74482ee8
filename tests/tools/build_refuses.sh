# What a build refuses: an image that no policy allows, what is not supported, a second build in one place, a second
# command beside a first. After each, the build is as it was.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
make_busybox_image "$T/base" v1
cd "$T"
expect_exit 4 gantry build begin "oci:$T/base:v1"
accept_anything
expect_exit 3 gantry build begin "oci:$T/nothing:v1"
[ ! -e .gantry-build/draft.json ] || fail "a build was begun on nothing"

gantry build begin "oci:$T/base:v1"
gantry build set-name example.com/a
expect_exit 1 gantry build begin
expect_text "a build is in progress .*'example.com/a' on 'oci:$T/base:v1', 0 layers made" "$T/err"
before=$(sha256sum <.gantry-build/draft.json)
expect_exit 1 gantry build run -- false
expect_exit 1 gantry build run -- /no/such/program
expect_exit 7 gantry build run --engine nspawn -- true
expect_exit 3 gantry build copy "$T/nothing" /x
expect_exit 2 gantry build label add 'not a name' x
expect_exit 2 gantry build port add http tcp 70000
expect_exit 2 gantry build set-working-dir here
[ "$before" = "$(sha256sum <.gantry-build/draft.json)" ] || fail "the draft changed: $(cat .gantry-build/draft.json)"
exec 9>.gantry-build/lock
flock 9
expect_exit 1 gantry build cat-manifest
expect_text 'another gantry-build is at work' "$T/err"
exec 9>&-
gantry build abort

for line in 'ONBUILD RUN x' 'RUN --mount=type=cache x' 'COPY --link a /' 'COPY <<END /x'; do
  printf 'FROM scratch\n%s\n' "$line" >Containerfile
  expect_exit 7 gantry build Containerfile
  expect_text 'Containerfile: line 2: ' "$T/err"
done
