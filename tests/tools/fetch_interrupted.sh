# An interrupted gantry-fetch (Ctrl-C) keeps what has come of a layer, names nothing and leaves no process; the next one asks for
# the rest only.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need nginx
accept_anything
start_registry
mkdir "$T/files"
head -c 40000000 /dev/urandom >"$T/files/data"
make_image "$T/layout" v1 '{"Cmd":["/x"]}' "$T/files"
push "$T/layout:v1" large:v1
layer=$(ls -S "$T/layout/blobs/sha256" | head -n 1)

# A registry that has not sent all of it by the time that a loaded machine looks: a megabyte a second, six at once.
start_proxy http 'access_log off; proxy_max_temp_file_size 0;' '' 'limit_rate 1m;'

partial=$T/store/tmp/partial-sha256-$layer
setsid env --default-signal=INT gantry-fetch -q "docker://127.0.0.1:$port/large:v1" >"$T/out" 2>"$T/err" &
group=$!
for _ in $(seq 200); do
  [ "$(stat -c %s "$partial" 2>/dev/null || echo 0)" -lt 2000000 ] || break
  sleep 0.05
done
kill -INT -- "-$group"
status=0
wait "$group" || status=$?
[ "$status" = 130 ] || fail "exit $status: $(cat "$T/err")"
size=$(stat -c %s "$partial")
[ "$size" -ge 2000000 ] && [ "$size" -lt 40000000 ] || fail "$size bytes were kept"
nobody_is_left() { ! pgrep -s "$group" >/dev/null; }
await nobody_is_left || fail "a process is left: $(pgrep -as "$group")"
expect_exit 0 gantry-store list -q
[ ! -s "$T/out" ] || fail "something has a name: $(cat "$T/out")"

forget "$registry_log"
expect_exit 0 gantry-fetch -q "docker://$registry/large:v1"
expect_soon "blobs/sha256:$layer.*response.status=206" "$registry_log"
expect_exit 0 gantry-store check
[ ! -e "$partial" ] || fail "the part is still there"
