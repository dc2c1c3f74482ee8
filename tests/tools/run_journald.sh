# --log-driver: a detached pod's output goes to the journal, here one of the test's own, or nowhere; without a journal the
# pod is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq unshare python3
[ "$(id -u)" = 0 ] || skip "mounts"

make_busybox_image "$T/image" v1
cat >"$T/listen.py" <<'END2'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
out = open(sys.argv[1], "ab", buffering=0)
while True:
    out.write(s.recv(65536).replace(b"\0", b"."))
END2
cat >"$T/script" <<'END2'
set -euo pipefail
run="gantry-run -q --insecure-options=image"
mount -t tmpfs tmpfs /run
got=0
$run -d --log-driver=journald "oci:$T/image:v1" true 2>"$T/err" || got=$?
[ $got = 125 ] || { echo "exit $got without a journal"; exit 1; }
grep -q 'there is no journal' "$T/err" || { cat "$T/err"; exit 1; }
mkdir -p /run/systemd/journal
: >"$T/journal"
setpriv --pdeathsig KILL python3 "$T/listen.py" "$T/journal" &
for _ in $(seq 100); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
$run -d --log-driver=journald --name web "oci:$T/image:v1" sh -c 'echo hello; echo oops >&2' >"$T/uuid"
for _ in $(seq 100); do [ "$(grep -c '^MESSAGE' "$T/journal")" = 2 ] && break; sleep 0.05; done
kill %1
END2
export T
unshare -m bash "$T/script" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
uuid=$(cat "$T/uuid")
grep -a -q "^GANTRY_POD=$uuid\$" "$T/journal" || fail "$(cat "$T/journal")"
for field in GANTRY_APP=web SYSLOG_IDENTIFIER=web PRIORITY=6 PRIORITY=3 '[.]*hello' '[.]*oops'; do
  grep -a -q "$field\$" "$T/journal" || fail "no $field: $(cat "$T/journal")"
done
expect_exit 7 gantry run logs "$uuid"
expect_text "journalctl GANTRY_POD=$uuid" "$T/err"
gantry run rm -f "$uuid"

uuid=$(gantry-run -q --insecure-options=image -d --log-driver=none "oci:$T/image:v1" sh -c 'echo gone')
[ "$(gantry run status --wait --json "$uuid" | jq .code)" = 0 ] || fail "without a log"
[ -z "$(find "$T/store/pods" -name '*.log')" ] || fail "there is a log"
expect_exit 3 gantry run logs "$uuid"
gantry run rm "$uuid"
expect_exit 125 gantry-run -q --insecure-options=image --log-driver=none "oci:$T/image:v1" true
expect_text 'give --detach' "$T/err"
