# What has a name is looked up once: whoever moves a name in the store or in a layout while gantry run is at it gets the image
# that was verified or a refusal, and never the other one; and a container that runs stays what it is.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg skopeo busybox
unshare -r true 2>/dev/null || [ "$(id -u)" = 0 ] || skip "no containers here"

make_gpg_key tester
tree() {
  mkdir -p "$T/$1/bin" && cp "$(command -v busybox)" "$T/$1/bin/" && ln -s busybox "$T/$1/bin/sh" && ln -s busybox "$T/$1/bin/cat"
  echo "$1" >"$T/$1/who"
  make_image "$T/layout-$1" v1 '{"Cmd":["cat","/who"],"Env":["PATH=/bin"]}' "$T/$1"
}
file_is_static "$(command -v busybox)" || skip "busybox is not the static one (package busybox-static)"
tree good && tree evil
name=quay.io/org/app:v1
gantry store list >/dev/null
# Two index.json of one store, in which the name is one image and the other.
for who in good evil; do
  skopeo --insecure-policy copy -q "oci:$T/layout-$who:v1" "oci:$GANTRY_ROOT:$name"
  cp "$GANTRY_ROOT/index.json" "$T/index-$who"
done
cmp -s "$T/index-good" "$T/index-evil" && fail "one image"
move() { cp "$T/index-$1" "$T/next" && mv "$T/next" "$GANTRY_ROOT/index.json"; }
move good
expect_exit 0 gantry sign -q --key "$fingerprint" "$name"
expect_exit 0 gantry trust add -q --yes --key "$T/tester.pub.gpg" "docker://${name%:*}"

# While it runs.
mkfifo "$T/go"
gantry-run -i "store:$name" sh -c 'echo begun; read -r line; cat /who' <"$T/go" >"$T/late" 2>"$T/late.err" &
running=$!
exec 7>"$T/go"
await grep -qs begun "$T/late" || fail "it does not begin: $(cat "$T/late.err")"
move evil
echo go >&7
exec 7>&-
wait "$running" || fail "$(cat "$T/late.err")"
[ "$(xargs <"$T/late")" = 'begun good' ] || fail "a running container became $(cat "$T/late")"
expect_exit 125 gantry-run "store:$name"

# Between the steps of one run: hundreds of moves, at whatever moment they come.
(while :; do move good; move evil; done) 2>/dev/null &
started_pids+=($!)
good=0 refused=0
for ((i = 0; i < 40 || (i < 200 && good * refused == 0); i++)); do
  status=0
  gantry-run "store:$name" >"$T/out" 2>"$T/err" || status=$?
  case $status:$(cat "$T/out") in
    0:good) good=$((good + 1)) ;;
    125:) refused=$((refused + 1)) ;;
    *) fail "exit $status: $(cat "$T/out" "$T/err")" ;;
  esac
done
[ "$good" -gt 0 ] && [ "$refused" -gt 0 ] || fail "$good ran, $refused were refused: the moves came at no moment that counts"
