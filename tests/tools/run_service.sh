# As a service: READY=1 comes when the app is executed, from us or from the app; sockets are passed on; and the unit that
# gantry-generate writes runs what the pod ran.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox python3 jq
[ -x /usr/bin/python3 ] || skip "no python3 of the system"
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
cat >"$T/notify.py" <<'END'
# Starts the command with a notify socket and two listening sockets, as systemd does, and prints what it is told, who said
# it, and how many descriptors came with it.
import array, os, select, socket, struct, subprocess, sys
path = sys.argv[1] + "/notify"
if os.path.exists(path): os.unlink(path)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
notify.bind(path)
listeners = [socket.socket(), socket.socket()]
for one in listeners: one.bind(("127.0.0.1", 0)); one.listen()
def start():
    os.environ.update(LISTEN_PID=str(os.getpid()))
    for at, one in enumerate(listeners): os.dup2(one.fileno(), 30 + at)
    for at in range(2): os.dup2(30 + at, 3 + at, inheritable=True)
os.environ.update(NOTIFY_SOCKET=path, LISTEN_FDS="2", LISTEN_FDNAMES="http:admin", WATCHDOG_USEC="30000000")
child = subprocess.Popen(sys.argv[2:], preexec_fn=start, close_fds=False)
ended = os.pidfd_open(child.pid)
while True:
    ready = select.select([notify, ended], [], [], 60)[0]
    if notify in ready:
        text, more, _, _ = notify.recvmsg(4096, 4096)
        said = dict((kind, data) for _, kind, data in more)
        by = struct.unpack("3i", said[socket.SCM_CREDENTIALS])[0]
        count = len(array.array("i", said.get(socket.SCM_RIGHTS, b"")))
        words = text.decode().replace("MAINPID=%d" % child.pid, "MAINPID=ours").split("\n")
        print("heard:", *words, "by", "ours" if by == child.pid else "others", "with", count, flush=True)
    elif not ready or ended in ready:
        sys.exit(child.wait())
END
run=(python3 "$T/notify.py" "$T" gantry-run -q --insecure-options=image)
expect_exit 0 "${run[@]}" "oci:$T/image:v1" sh -c '[ $LISTEN_PID = $$ ] && [ $LISTEN_FDS = 2 ] && [ $LISTEN_FDNAMES = http:admin ] &&
  [ -S /proc/self/fd/3 ] && [ -S /proc/self/fd/4 ] && [ ! -e /proc/self/fd/5 ] && [ -z "$NOTIFY_SOCKET$WATCHDOG_USEC" ]'
[ "$(grep -v '^heard: READY=1 MAINPID=ours by ours with 0$' "$T/out")" = "" ] || fail "$(cat "$T/out")"
expect_text '^heard' "$T/out"
# A detached pod says it before who started it ends, and who attends to it is the main process.
expect_exit 0 "${run[@]}" --rm -d --name detached "oci:$T/image:v1" sleep 1000
expect_text '^heard: READY=1 MAINPID=[0-9]+ by others with 0$' "$T/out"
gantry run rm -f detached >/dev/null
expect_exit 0 python3 "$T/notify.py" "$T" gantry-run --insecure-options=image "oci:$T/image:v1" true
expect_text 'nobody answers the watchdog' "$T/err"

for count in 1000 two 2; do
  expect_exit 125 sh -c 'LISTEN_PID=$$ LISTEN_FDS=$0 exec "$@" 3<&- 4<&-' $count gantry-run --insecure-options=image "oci:$T/image:v1" true
  expect_text 'LISTEN_FDS' "$T/err"
done

# From the app: what it says reaches systemd as from us, without the ids of processes that it cannot know, and without
# what is not its to say.
cat >"$T/say.py" <<'END'
import os, socket, sys
place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
place.connect(os.environ["NOTIFY_SOCKET"])
place.send(b"STATUS=begins\nMAINPID=1")
place.send(b"READY=1\nNOTIFYACCESS=all\nMAINPID=%d" % os.getpid())
for text in b"WATCHDOG=1", b"RELOADING=1\nMONOTONIC_USEC=7": place.send(text)
socket.send_fds(place, [b"FDSTORE=1\nFDNAME=x"], [0, 1])
place.send(b"MAINPID=3")
place.send(b"STATUS=" + b"x" * 5000)
place.send(b"STOPPING=1")
sys.exit(0 if os.environ["WATCHDOG_USEC"] == "30000000" else 9)
END
host=(-v "$T/say.py:/say.py:ro")
for place in /usr /lib /lib64; do [ ! -d $place ] || host+=(-v "$place:$place:ro"); done
cat >"$T/expected" <<'END'
heard: STATUS=begins by ours with 0
heard: READY=1 MAINPID=ours by ours with 0
heard: WATCHDOG=1 by ours with 0
heard: RELOADING=1 MONOTONIC_USEC=7 by ours with 0
heard: FDSTORE=1 FDNAME=x by ours with 2
heard: STOPPING=1 by ours with 0
END
for who in root 1000; do
  expect_exit 0 "${run[@]}" --sdnotify app -u "$who" "${host[@]}" "oci:$T/image:v1" /usr/bin/python3 /say.py
  diff "$T/expected" "$T/out" || fail "as $who"
done
# The socket is the service's, and no volume of a manifest.
expect_exit 0 "${run[@]}" -d --name told --sdnotify app "oci:$T/image:v1" true
gantry run cat-manifest told >"$T/pod"
[ "$(jq -c .volumes "$T/pod")" = '[]' ] || fail "$(cat "$T/pod")"
expect_exit 0 gantry-run -q --insecure-options=image --pod-manifest "$T/pod"
gantry run rm told >/dev/null
expect_exit 125 "${run[@]}" --sdnotify app --tty "oci:$T/image:v1" true
expect_text 'leave --tty out' "$T/err"
rm "$T/notify"
expect_exit 125 env NOTIFY_SOCKET="$T/notify" gantry-run -q --insecure-options=image --sdnotify app "oci:$T/image:v1" true
expect_text 'reach the notify socket' "$T/err"
uuid=$(gantry run prepare --insecure-options=image "oci:$T/image:v1")
expect_exit 125 env NOTIFY_SOCKET="$T/notify" gantry run run-prepared --insecure-options=image --sdnotify app "$uuid"
expect_text 'a prepared pod gets no sockets' "$T/err"
gantry run rm "$uuid" >/dev/null

mkdir "$T/a %h b" && cd "$T/a %h b"
uuid=$(gantry run -q --insecure-options=image -d --name web -e 'A=100% of $x' "oci:$T/image:v1" sh -c 'echo "$A"; sleep 1000')
expect_exit 0 gantry generate systemd web
expect_text '^Type=notify$' "$T/out"
expect_text '^KillMode=mixed$' "$T/out"
expect_text '"A=100%% of \$\$x"' "$T/out"
expect_text '^WorkingDirectory=.*/a %%h b$' "$T/out"
expect_text '^ExecStart=[^ ]*/gantry-run --rm -q ' "$T/out"
if command -v systemd-analyze >/dev/null; then
  cp "$T/out" "$T/web.service"
  systemd-analyze verify "$T/web.service" 2>"$T/verify" || fail "$(cat "$T/verify")"
fi
gantry run rm -f "$uuid" >/dev/null
expect_exit 3 gantry generate systemd web
mkdir "$T/a"$'\n'ExecStart=x && cd "$T/a"$'\n'ExecStart=x
uuid=$(gantry run -q --insecure-options=image -d "oci:$T/image:v1" true)
expect_exit 7 gantry generate systemd "$uuid"
