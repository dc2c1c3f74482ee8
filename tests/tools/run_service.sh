# As a service: READY=1 comes when the app is executed, from us or from the app; sockets are passed on; and the unit that
# gantry-generate writes runs what the pod ran.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox python3 jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
cat >"$T/notify.py" <<'END'
# Starts the command with a notify socket and one listening socket, as systemd does, and prints what it is told.
import os, socket, subprocess, sys
path = sys.argv[1] + "/notify"
if os.path.exists(path): os.unlink(path)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path); notify.settimeout(20)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
pid = os.fork()
if pid == 0:
    fd = os.dup(listener.fileno()); listener.close(); notify.close()
    if fd != 3: os.dup2(fd, 3); os.close(fd)
    os.set_inheritable(3, True)
    os.environ.update(NOTIFY_SOCKET=path, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execvp(sys.argv[2], sys.argv[2:])
print(" ".join(notify.recv(4096).decode().replace("MAINPID=%d" % pid, "MAINPID=ours").split("\n")), flush=True)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
run=(python3 "$T/notify.py" "$T" gantry-run -q --insecure-options=image)
expect_exit 0 "${run[@]}" "oci:$T/image:v1" sh -c '[ $LISTEN_PID = $$ ] && [ $LISTEN_FDS = 1 ] && [ -S /proc/self/fd/3 ] && [ ! -e /proc/self/fd/4 ] && [ -z "$NOTIFY_SOCKET" ]'
expect_text '^READY=1 MAINPID=ours$' "$T/out"
expect_exit 4 "${run[@]}" --sdnotify app "oci:$T/image:v1" sh -c '[ -S $NOTIFY_SOCKET ] && exec 5<>/dev/null; exit 4' &
waiting=$!
for _ in $(seq 100); do [ -S "$T/notify" ] && break || sleep 0.05; done
sleep 1
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1 of-the-test", sys.argv[1])' "$T/notify"
wait "$waiting" || fail "the app does not have the socket"

uuid=$(gantry run -q --insecure-options=image -d --name web -e 'A=100% of $x' "oci:$T/image:v1" sh -c 'echo "$A"; sleep 1000')
expect_exit 0 gantry generate systemd web
expect_text '^Type=notify$' "$T/out"
expect_text '^KillMode=mixed$' "$T/out"
expect_text '"A=100%% of \$\$x"' "$T/out"
if command -v systemd-analyze >/dev/null; then
  cp "$T/out" "$T/web.service"
  systemd-analyze verify "$T/web.service" 2>"$T/verify" || fail "$(cat "$T/verify")"
fi
gantry run rm -f "$uuid" >/dev/null
expect_exit 3 gantry generate systemd web
