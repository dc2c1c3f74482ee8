#!/bin/bash
# While layers come: a collection leaves them alone, another run of the same image gets the same, and a disk that is full
# is told once, ends the fetch, and leaves no layer; so is the end of who brings them.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox nginx pgrep unshare
[ "$(id -u)" = 0 ] || skip "root's way"
accept_anything
start_registry
mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
ln -s busybox "$T/base/bin/sha256sum"
head -c 8000000 /dev/urandom >"$T/base/large"
head -c 40000000 /dev/zero >"$T/base/zeros"
make_image "$T/img" v1 '{"Cmd":["sha256sum","/large","/zeros"]}' "$T/base"
push "$T/img:v1" large:v1
start_proxy http 'proxy_max_temp_file_size 0;' '' 'limit_rate 3m;'
image=docker://127.0.0.1:$port/large:v1
sums=$(cd "$T/base" && sha256sum large zeros | cut -d' ' -f1)
nobody_at() { ! pgrep -f "127.0.0.1:$1/large" >/dev/null; }
until_files_come() {
  until find "$T/store/layers" -path '*/.new-*/large' -size +1000k 2>/dev/null | grep -q .; do
    kill -0 "$1" 2>/dev/null || fail "nothing was seen of the layer: $(cat "$T"/out* "$T"/err*)"
  done
}
ended_well() {
  wait "$1" || fail "$(cat "$T/err$2")"
  [ "$(cut -d' ' -f1 "$T/out$2")" = "$sums" ] || fail "run $2: $(cat "$T/out$2" "$T/err$2")"
}

gantry-run -q "$image" >"$T/out1" 2>"$T/err1" &
first=$!
until_files_come "$first"
gantry-run -q "$image" >"$T/out2" 2>"$T/err2" &
second=$!
for _ in 1 2 3; do expect_exit 0 gantry-store gc; done
kill -0 "$first" || fail "it had ended before the collections"
ended_well "$first" 1
ended_well "$second" 2
expect_exit 0 gantry-store check
expect_exit 0 gantry-store gc
[ "$(find "$T/store/layers" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] || fail "layers: $(ls -A "$T/store/layers")"

# What is refused when they have begun to come is told at once and ends the fetch; else it is told when all are here.
printf '{"acVersion":"0.8.11","acKind":"PodManifest","isolators":[{"name":"resource/cpu","value":{"limit":"1"}}],"apps":[
  {"name":"a","image":{},"annotations":[{"name":"dev.gantry/image","value":"%s"}]}]}' "$image" >"$T/pod"
rm -rf "$T/store"
expect_exit 125 gantry-run -q --strict --pod-manifest "$T/pod"
expect_text 'wants what it cannot get' "$T/err"
await nobody_at "$port" || fail "a process is left: $(pgrep -af "127.0.0.1:$port/large")"
[ -z "$(find "$T/store/layers" "$T/store/pods" -mindepth 1)" ] || fail "left: $(ls -A "$T/store/layers" "$T/store/pods")"
expect_exit 0 gantry-run --pod-manifest "$T/pod"
[ "$(grep -c 'does not get: isolator of the pod' "$T/err")" = 1 ] || fail "$(cat "$T/err")"
tail -n1 "$T/err" | grep -q 'does not get' || fail "told while layers came: $(cat "$T/err")"

# Who brings them is killed.
for verb in '' -d; do
  rm -rf "$T/store"
  # shellcheck disable=SC2086
  gantry-run -q $verb "$image" >"$T/out1" 2>"$T/err1" &
  until pgrep -f "gantry-fetch.*127.0.0.1:$port/large" >/dev/null && [ -e "$T/store/tmp" ] &&
    find "$T/store/tmp" -name 'partial-*' -size +1000k | grep -q .; do
    kill -0 $! 2>/dev/null || fail "nothing came: $(cat "$T/err1")"
  done
  pkill -KILL -o -f "gantry-fetch.*127.0.0.1:$port/large"
  code=0
  wait $! || code=$?
  [ $code = 125 ] || fail "exit $code: $(cat "$T/out1" "$T/err1")"
  expect_text 'gantry-fetch' "$T/err1"
  [ "$(grep -c ^gantry "$T/err1")" = 1 ] || fail "it is told more than once: $(cat "$T/err1")"
  [ -z "$(ls -A "$T/store/layers")" ] || fail "a layer is left: $(ls -A "$T/store/layers")"
done

# The files take more than the disk has, the blob does not.
cat >"$T/full.sh" <<END
mount -t tmpfs -o size=30m,mode=0700 tmpfs "$T/store"
code=0
gantry-run -q "$image" || code=\$?
for _ in \$(seq 100); do [ -n "\$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
find "$T/store/layers" "$T/store/pods" -mindepth 1 -maxdepth 1 | sed 's/^/left: /'
gantry-store check >/dev/null || echo 'left: what is not sound'
exit \$code
END
rm -rf "$T/store"
mkdir "$T/store"
expect_exit 125 unshare -m bash "$T/full.sh"
expect_text 'No space left on device' "$T/err"
[ "$(grep -c ^gantry "$T/err")" = 1 ] || fail "it is told more than once: $(cat "$T/err")"
[ ! -s "$T/out" ] || fail "executed, or not cleaned: $(cat "$T/out")"
await nobody_at "$port" || fail "a process is left: $(pgrep -af "127.0.0.1:$port/large")"
