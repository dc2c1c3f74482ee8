# Whoever enters a machine and breaks the protocol, or dies, ends a process of his own: never the machine, and no number
# of processes is used up by it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq perl script
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin" "$T/base/etc"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id sleep; do ln -s busybox "$T/base/bin/$name"; done
make_image "$T/image" v1 '{"Cmd":["sleep","1000"]}' "$T/base"
uuid=$("${vm[@]}" -d "oci:$T/image")
socket=$T/store/pods/$uuid/enter
for _ in $(seq 100); do [ ! -S "$socket" ] || break; sleep 0.1; done

# say FRAME...: to the runner, after a kEnter; frames are Perl. Prints what is answered, to the end.
say() {
  perl -MIO::Socket::UNIX -e 'sub frame { pack("VCCv", length $_[1], $_[0], 0, 1) . $_[1] }
    $SIG{PIPE} = "IGNORE"; alarm 20; $s = IO::Socket::UNIX->new(shift) or die $!; print $s frame(9, pack("VVVVQ", 0, 0, 0, 0, 0));
    print $s eval($_) for @ARGV; print while <$s>' "$socket" "$@"
}
say 'frame(2, "short")' 'frame(2, "")' >"$T/short"
grep -qa 'understand the host' "$T/short" || fail "parameters that are too short: $(cat -v "$T/short")"
say 'frame(2, "\0" x 4096)' 'frame(2, "")' 'frame(2, "more")' >"$T/more"
say 'frame(8, pack("V", 1))' >"$T/taken"
say 'frame(1, "job")' >"$T/job"
[ "$(gantry run enter "$uuid" id -u)" = 0 ] || fail "nobody can enter any more"

# All numbers but one at terminals that nobody reads, killed: others get them.
mkfifo "$T/unread"
exec 7<>"$T/unread"
# await_all ARGS: fourteen processes of that command line are in the container.
await_all() {
  local until=$((SECONDS + 60)) count=0
  while [ "$count" != 14 ]; do
    [ $SECONDS -lt $until ] || fail "$count processes could be entered, not 14: $1"
    count=$(gantry run enter "$uuid" sh -c 'cat /proc/[0-9]*/cmdline' 2>/dev/null | tr '\0' ' ' | grep -o "$1" | wc -l) || true
  done
}
for _ in $(seq 14); do
  script -qfc "gantry run enter -t $uuid cat /dev/zero" /dev/null >&7 2>&1 </dev/null &
done
await_all 'cat /dev/zero'
sleep 1
pkill -KILL -f "enter -t $uuid cat"
# A number is free when the guest has said so: who is refused before comes again.
sleeper() {
  local code=125
  for _ in $(seq 40); do
    [ $code = 125 ] || break
    code=0
    gantry run enter "$uuid" sleep 100 || code=$?
    sleep 0.2
  done
}
for _ in $(seq 14); do sleeper </dev/null >/dev/null 2>&1 & done
await_all 'sleep 100 '
[ "$(gantry run status --json "$uuid" | jq -r .state)" = running ] || fail "the machine has ended"
gantry run rm -f "$uuid" >/dev/null
