#!/bin/bash
# What comes from a registry is unpacked while it comes, and nothing of it is executed before all of it was checked; also
# when a part is there from an earlier fetch, when that part is damaged, when a mirror sends something else, and when the
# connection breaks.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq nginx pgrep
[ "$(id -u)" = 0 ] || skip "root's way"
accept_anything
start_registry
make_busybox_image "$T/busybox" v1
mkdir -p "$T/base/bin" "$T/top"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh sha256sum sleep touch; do ln -s busybox "$T/base/bin/$name"; done
head -c 12000000 /dev/urandom >"$T/base/large"
head -c 1200000 /dev/urandom >"$T/top/data"
ln "$T/top/data" "$T/top/same"
make_image "$T/img" v1 '{"Cmd":["sha256sum","/large","/data","/same"]}' "$T/base" "$T/top"
push "$T/img:v1" large:v1
push "$T/busybox:v1" small:v1
base=$(gantry-inspect --raw "oci:$T/img:v1" | jq -r '.layers[0].digest[7:]')
sums=$(cd "$T" && sha256sum base/large top/data top/same | cut -d' ' -f1)
# The registry at five megabytes a second; as a mirror it sends zeros for the base.
head -c "$(stat -c %s "$T/img/blobs/sha256/$base")" /dev/zero >"$T/zeros"
start_proxy http "access_log $T/access.log; proxy_max_temp_file_size 0;" \
  "location /v2/mirror/large/blobs/sha256:$base { alias $T/zeros; limit_rate 5m; } location /v2/mirror/ { proxy_pass http://$registry/v2/; }" \
  'limit_rate 5m;'
image=docker://127.0.0.1:$port/large:v1 proxy=${started_pids[-1]}
nobody_at() { ! pgrep -f "127.0.0.1:$1/large" >/dev/null; }
layers() { ls "$T/store/layers" 2>/dev/null || true; }
pods_gone() {
  for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || return 0; sleep 0.05; done
  fail "a pod is left"
}
sound() {
  [ "$(cut -d' ' -f1 "$T/out")" = "$sums" ] || fail "$1: $(cat "$T/out" "$T/err")"
  expect_exit 0 gantry-store check
  pods_gone
}

for part in none good damaged; do
  rm -rf "$T/store"
  mkdir -m 0700 "$T/store" "$T/store/tmp"
  case $part in
    none) ;;
    good) head -c 4000000 "$T/img/blobs/sha256/$base" >"$T/store/tmp/partial-sha256-$base" ;;
    damaged) head -c 4000000 /dev/zero >"$T/store/tmp/partial-sha256-$base" ;;
  esac
  expect_exit 0 gantry-run -q "$image"
  sound "$part part"
  rm -rf "$T/store/tmp"/partial-*
done

# In a pod with another one, prepared, detached, and by who has nothing but his own ids.
rm -rf "$T/store"
expect_exit 0 gantry-run -q "docker://$registry/small:v1" -- true --- "$image"
sound 'of two'
rm -rf "$T/store"
uuid=$(gantry-run -q prepare "$image")
expect_exit 0 gantry-run -q run-prepared "$uuid"
cp "$T/out" "$T/said"
expect_exit 0 gantry-run rm "$uuid"
cp "$T/said" "$T/out"
sound prepared
rm -rf "$T/store"
uuid=$(gantry-run -q -d "$image")
expect_exit 0 gantry-run status --wait "$uuid"
expect_exit 0 gantry-run logs "$uuid"
[ "$(cut -d' ' -f1 "$T/out")" = "$sums" ] || fail "detached: $(cat "$T/out")"
expect_exit 0 gantry-run rm "$uuid"
if command -v setpriv >/dev/null && unshare -U true 2>/dev/null; then
  mkdir "$T/user"
  chown 54321:54321 "$T/user"
  expect_exit 0 setpriv --reuid=54321 --regid=54321 --clear-groups env -u XDG_RUNTIME_DIR HOME="$T/user" \
    GANTRY_ROOT="$T/user/store" XDG_CONFIG_HOME="$T/user" gantry-run -q --insecure-options=image "$image"
  [ "$(cut -d' ' -f1 "$T/out")" = "$sums" ] || fail "as a user: $(cat "$T/out")"
fi

# Files are there before the layer is, and no layer has a name; when the connection breaks, the next one goes on.
rm -rf "$T/store"
gantry-run -q "$image" >"$T/out" 2>"$T/err" &
until find "$T/store/layers" -path '*/.new-*/large' -size +2000k 2>/dev/null | grep -q .; do
  kill -0 $! 2>/dev/null || fail "nothing was seen of the layer: $(cat "$T/out" "$T/err")"
done
[ -e "$T/store/tmp/partial-sha256-$base" ] || fail "nothing was written before the layer was whole"
[ -z "$(layers)" ] || fail "a layer has a name already: $(layers)"
pkill -KILL -P "$proxy"
wait $! || fail "$(cat "$T/err")"
sound 'a break'

cat >"$XDG_CONFIG_HOME/containers/registries.conf" <<END
[[registry]]
prefix = "$registry"
location = "$registry"
[[registry.mirror]]
location = "127.0.0.1:$port/mirror"
END
rm -rf "$T/store"
expect_exit 0 gantry-run -q "docker://$registry/large:v1"
sound 'a mirror that sends something else'
expect_soon "mirror/large/blobs/sha256:$base" "$T/access.log"
: >"$XDG_CONFIG_HOME/containers/registries.conf"

# Whoever ends the runner while layers come ends all of it, and the next run goes on from there.
for signal in INT TERM KILL; do
  rm -rf "$T/store"
  setsid env --default-signal=INT gantry-run -q "$image" >"$T/out" 2>"$T/err" &
  until find "$T/store/layers" -path '*/.new-*/large' -size +2000k 2>/dev/null | grep -q .; do
    kill -0 $! 2>/dev/null || fail "$signal: nothing was seen of the layer: $(cat "$T/out" "$T/err")"
  done
  kill -"$signal" $!
  ! wait $! || fail "$signal: it ran all the same"
  await nobody_at "$port" || fail "$signal: a process is left: $(pgrep -af "127.0.0.1:$port/large")"
  [ -z "$(layers)" ] || fail "$signal: a layer has a name: $(layers)"
  [ ! -s "$T/out" ] || fail "$signal: it ran"
  expect_exit 0 gantry-run -q "$image"
  [ "$(cut -d' ' -f1 "$T/out")" = "$sums" ] || fail "after $signal: $(cat "$T/out")"
done
