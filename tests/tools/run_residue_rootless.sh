# Without root, too: whatever of a pod is killed, and whenever, its network among it, after gc there is no process, no mount
# and no directory of it. GANTRY_KILLS=500 makes so many rounds.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox setpriv
[ "$(id -u)" = 0 ] || skip "makes a network to be in"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
setpriv --reuid 65534 --clear-groups unshare -U true 2>/dev/null || skip "no user namespaces here"
make_outside
network=
if [ -x /usr/bin/pasta ] && mount -t tmpfs tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200 2>/dev/null &&
  as_user sh -c ': <>/dev/net/tun' 2>/dev/null; then
  network=yes
fi

make_busybox_image "$T/image" v1
chmod -R a+rX "$T/image"
gantry() { as_user gantry-run "$@"; }
gantry -q --insecure-options=image "oci:$T/image:v1" true
mounts=$(wc -l </proc/self/mounts)
store=$T/user/.local/share/gantry

kill_window=120000
for ((i = 0; i < ${GANTRY_KILLS:-24}; i++)); do
  flags=()
  ((i % 3)) || flags=(-d)
  ((i % 2)) && [ "$network" ] && flags+=(-p "$((9000 + i % 1000)):80")
  as_user setsid gantry-run -q --insecure-options=image "${flags[@]}" "oci:$T/image:v1" sleep 1000 >/dev/null 2>&1 &
  pid=$!
  a_random_moment
  case $((i % 4)) in
    0) pkill -KILL -s "$pid" || true ;;
    1) pkill -KILL -u 65534 -x gantry-keeper || true ;;
    2) pkill -KILL -u 65534 pasta || true ;;
  esac
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
for _ in $(seq 100); do
  # Also those that had not begun when their caller was killed. A directory without a file is young.
  for uuid in $(gantry list -q); do gantry rm -f "$uuid" >/dev/null || true; done
  find "$store/pods" -mindepth 1 -maxdepth 1 -exec touch -d '5 minutes ago' {} + 2>/dev/null || true
  gantry gc --grace-period 0 --expire-prepared 0 >/dev/null
  [ -n "$(ls -A "$store/pods")" ] || pgrep -u 65534 >/dev/null || break
  sleep 0.1
done
[ -z "$(ls -A "$store/pods")" ] || fail "left: $(ls "$store/pods")"
! pgrep -au 65534 || fail "a process is left"
[ "$(wc -l </proc/self/mounts)" = "$mounts" ] || fail "mounts are left"
