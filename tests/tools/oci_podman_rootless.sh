# Debian's podman, as an ordinary user with a range of ids, runs containers by gantry-oci.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need podman busybox newuidmap setpriv
[ "$(id -u)" = 0 ] || skip "makes a throw-away user"
in_namespaces_of_its_own -mp --fork --kill-child --mount-proc
setpriv --reuid 65534 --clear-groups unshare -U true 2>/dev/null || skip "no user namespaces here"

# In an /etc of this test's own.
cp -a /etc "$T/etc"
mount --bind "$T/etc" /etc
echo "tester:x:54321:54321::$T/home-of-tester:/bin/sh" >>/etc/passwd
echo 'tester:x:54321:' >>/etc/group
echo tester:200000:65536 | tee /etc/subuid >/etc/subgid
mkdir -p "$T/home-of-tester"/{run,rootfs/{bin,proc,sys,dev,etc,tmp,run}}
cp "$GANTRY_BIN/gantry-oci" "$T/home-of-tester"
cp "$(command -v busybox)" "$T/home-of-tester/rootfs/bin/busybox"
for name in sh id cat sleep; do ln -s busybox "$T/home-of-tester/rootfs/bin/$name"; done
chown -R 54321:54321 "$T/home-of-tester"
chmod 0700 "$T/home-of-tester/run"
podman() {
  (cd "$T/home-of-tester" && setpriv --reuid=54321 --regid=54321 --clear-groups --inh-caps=-all env -i PATH="$PATH" \
    HOME="$T/home-of-tester" XDG_RUNTIME_DIR="$T/home-of-tester/run" timeout 100 podman --log-level=error --storage-driver vfs \
    --cgroup-manager cgroupfs --runtime "$T/home-of-tester/gantry-oci" "$@" </dev/null)
}
limits=(--net=none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
podman info >/dev/null 2>"$T/err" || skip "podman does not run without root here: $(tail -1 "$T/err")"

expect_exit 5 podman run --rm "${limits[@]}" --rootfs "$T/home-of-tester/rootfs" sh -c 'id -u; cat /proc/self/uid_map; exit 5'
expect_text '^ *0 +54321 +1$' "$T/out"
expect_text '^ *1 +200000 +65536$' "$T/out"
expect_exit 0 podman run -d --name one "${limits[@]}" --rootfs "$T/home-of-tester/rootfs" sleep 1000
expect_exit 0 podman exec -u 33 one id -u
expect_text '^33$' "$T/out"
expect_exit 0 podman rm -f -t 0 one
expect_exit 0 podman ps -aq
[ ! -s "$T/out" ] || fail "a container is left"
