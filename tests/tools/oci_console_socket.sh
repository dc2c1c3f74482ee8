# A container's terminal, and one that a process more has, go to who listens: one message with its master.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need python3
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$
cat >"$T/listen.py" <<'END'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + "~")
s.listen(1)
os.rename(sys.argv[1] + "~", sys.argv[1])
connection, _ = s.accept()
_, control, _, _ = connection.recvmsg(100, socket.CMSG_LEN(8))
master = array.array("i", control[0][2])[0]
text = b""
try:
    while b"end" not in text:
        text += os.read(master, 4096)
except OSError:
    pass
print(text.decode(), len(control))
END
listen() {
  rm -f "$T/console"
  python3 "$T/listen.py" "$T/console" >"$T/console.out" &
  listener=$!
  until [ -S "$T/console" ]; do sleep 0.02; done
}
make_bundle '.process.terminal=true | .process.args=["sh","-c","tty; sleep 1; echo the end; exec sleep 995"]'
listen
oci create --console-socket "$T/console" --bundle "$bundle" "$c"
oci start "$c"
wait "$listener" || fail "nobody sent a terminal"
expect_text '^/dev/(console|pts/0)' "$T/console.out"
listen
oci exec --tty --detach --console-socket "$T/console" "$c" sh -c 'tty; sleep 1; echo the end'
wait "$listener" || fail "exec sent no terminal"
expect_text '^/dev/pts/' "$T/console.out"
# And its pidfd, which says by Pid: in fdinfo whose it is, to who listens for that.
cat >"$T/pidfd.py" <<'END'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + "~")
s.listen(1)
os.rename(sys.argv[1] + "~", sys.argv[1])
connection, _ = s.accept()
_, control, _, _ = connection.recvmsg(100, socket.CMSG_LEN(4))
print(*[line for line in open("/proc/self/fdinfo/%d" % array.array("i", control[0][2])[0]) if line.startswith("Pid:")])
END
python3 "$T/pidfd.py" "$T/pidfd" >"$T/pidfd.out" &
listener=$!
until [ -S "$T/pidfd" ]; do sleep 0.02; done
oci exec --detach --pidfd-socket "$T/pidfd" --pid-file "$T/pid" "$c" sleep 994
wait "$listener" || fail "exec sent no pidfd"
expect_text "^Pid:.$(cat "$T/pid")\$" "$T/pidfd.out"
oci delete --force "$c"
nothing_is_left "$c"
