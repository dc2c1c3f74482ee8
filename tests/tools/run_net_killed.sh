# Pods of a private network that start at once have addresses of their own; runners that are killed, some with their
# keepers, leave neither device nor rule nor lease once gc has run.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq nft
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -nmp --kill-child --mount-proc
make_outside
nft list tables >/dev/null 2>&1 || skip "no nftables in this kernel"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image --net=private)
image=oci:$T/image:v1
"${run[@]}" "$image" true
mkdir "$T/met"
for ((i = 0; i < 24; i++)); do
  "${run[@]}" -v "$T/met:/met" "$image" sh -c "ip -4 -o addr show eth0 >/met/$i; until [ -e /met/go ]; do sleep 0.1; done" &
  pids[i]=$!
done
for _ in $(seq 300); do [ "$(cat "$T"/met/* 2>/dev/null | wc -l)" = 24 ] && break; sleep 0.1; done
[ "$(awk '{print $4}' "$T"/met/* | sort -u | wc -l)" = 24 ] || fail "addresses: $(cat "$T"/met/*)"
touch "$T/met/go"
for pid in "${pids[@]}"; do wait "$pid" || fail "a pod failed"; done

kill_window=60000
for ((i = 0; i < ${GANTRY_KILLS:-24}; i++)); do
  flags=(-p "$((9000 + i)):80")
  ((i % 3)) || flags+=(-d)
  setsid "${run[@]}" "${flags[@]}" "$image" sleep 1000 >/dev/null 2>&1 &
  pid=$!
  a_random_moment
  # The runner, and now and then its keeper too.
  ((i % 2)) && pkill -KILL -s "$pid" || true
  ((i % 4)) || pkill -KILL -n -x gantry-keeper || true
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
left() { ip -o link | grep -E 'gantry0|gv[0-9a-f]{12}'; nft list tables | grep gantry; ls /run/gantry/networks/*/1* 2>/dev/null; }
for _ in $(seq 100); do
  # Also those that had not begun when their caller was killed. A directory without a file is young.
  for uuid in $(gantry run list -q); do gantry run rm -f "$uuid" >/dev/null || true; done
  find "$T/store/pods" -mindepth 1 -maxdepth 1 -exec touch -d '5 minutes ago' {} + 2>/dev/null || true
  gantry run gc --grace-period 0 --expire-prepared 0 >/dev/null
  left >"$T/left" || true
  [ -s "$T/left" ] || [ -n "$(ls -A "$T/store/pods")" ] || break
  sleep 0.1
done
[ ! -s "$T/left" ] || fail "left: $(cat "$T/left")"
[ -z "$(ls -A "$T/store/pods")" ] || fail "left: $(ls "$T/store/pods")"
