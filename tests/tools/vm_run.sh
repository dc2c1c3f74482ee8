# gantry-run --isolation=vm executes in a machine what it executes in namespaces, with the same confinement in it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
need busybox jq readelf
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/base/bin" "$T/base/etc/gone" "$T/top/etc"
touch "$T/top/etc/.wh.gone"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh chown cat id pwd grep ls uname ip head sha256sum sleep wc ps; do ln -s busybox "$T/base/bin/$name"; done
printf 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n' >"$T/base/etc/passwd"
printf 'web:x:34:\nextra:x:70:web\n' >"$T/base/etc/group"
make_image "$T/image" v1 '{"Entrypoint":["/bin/sh","-c"],"Env":["A=image"],"WorkingDir":"/srv","User":"web"}' \
  "$T/base" "$T/top"

# What must be the same in both, in one go: a boot under emulation takes its time.
look='echo $A $HOME $(pwd) $(id -u):$(id -g):$(id -G); grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status
  ls /dev /etc /proc/1/root 2>&1; echo x 2>&1 >/proc/sys/kernel/hostname; ip addr show lo | grep inet; cat /etc/hostname
  ls -l /proc/keys | cut -c1-10; echo text >&2; exit 9'
same() { sed -e 's/^[0-9a-f]\{12\}$/HOSTNAME/' -e '/^mqueue$/d' "$T/out"; cat "$T/err"; }
expect_exit 9 gantry-run -q --insecure-options=image -e B=2 --hostname here "oci:$T/image" "$look"
same | sort >"$T/in_namespaces"
expect_exit 9 "${vm[@]}" -e B=2 --hostname here "oci:$T/image" "$look"
same | sort >"$T/in_machine"
diff "$T/in_namespaces" "$T/in_machine" || fail 'the machine differs'

# Its limits hold in the machine.
expect_exit 0 "${vm[@]}" --pids 77 --memory 96m --cpus 1.5 --ulimit nofile=99:100000 --mount type=empty,source=e,target=/e -u root \
  "oci:$T/image" 'cat /sys/fs/cgroup/pids.max; grep MemTotal /proc/meminfo; grep -c processor /proc/cpuinfo
    echo x >/e/x && ls /e; ulimit -n; uname -r'
expect_text '^77$' "$T/out"
memory=$(awk '$1 == "MemTotal:" {print $2}' "$T/out")
[ "$memory" -gt 40000 ] && [ "$memory" -lt 98304 ] || fail "the memory is $memory KiB"
[ "$(grep -cx '2' "$T/out")" = 1 ] || fail "not two processors: $(cat "$T/out")"
expect_text '^x$' "$T/out"
expect_text '^99$' "$T/out"
! grep -qxF "$(uname -r)" "$T/out" || fail 'it ran in the kernel of the host'

# Volumes: one that can be written, one that cannot, and a file.
mkdir "$T/data" "$T/fixed"
echo shown >"$T/fixed/file"
expect_exit 0 "${vm[@]}" -u root -v "$T/data:/data" -v "$T/fixed:/fixed:ro" -v "$T/fixed/file:/etc/shown" "oci:$T/image" \
  'cat /etc/shown /fixed/file; echo made >/data/made; chown web:web /data/made; ! echo x >/fixed/x && ls /data/..'
[ "$(stat -c %u:%g "$T/data/made")" = 33:34 ] || fail 'the volume was not written as the guest said'
[ "$(grep -c shown "$T/out")" = 2 ] && [ ! -e "$T/fixed/x" ] || fail "volumes: $(cat "$T/out" "$T/err")"

# Where nothing makes EROFS, the root is squashfs.
if command -v mksquashfs >/dev/null; then
  mkdir "$T/few"
  for program in qemu-system-x86_64 mksquashfs; do ln -s "$(command -v $program)" "$T/few"; done
  expect_exit 0 env PATH="$GANTRY_BIN:$T/few" "${vm[@]}" -u root "oci:$T/image" \
    'grep -c squashfs /proc/filesystems; ls /etc; ls -l /bin/busybox; echo new >/etc/new && cat /etc/new'
  [ "$(xargs <"$T/out" | sed 's/-rwxr-xr-x 1 .*busybox/program/')" = \
    '1 group hostname hosts passwd program new' ] || fail "squashfs: $(cat "$T/out" "$T/err")"
else
  echo 'without squashfs: mksquashfs is not installed'
fi

# Much input and output, to the end.
head -c 300000 /dev/urandom >"$T/bytes"
expect_exit 0 "${vm[@]}" -i "oci:$T/image" cat <"$T/bytes"
cmp "$T/bytes" "$T/out" || fail 'input and output differ'

# What it starts with is on record.
uuid=$("${vm[@]}" -d --verified-boot "oci:$T/image" 'sleep 1000')
expect_exit 0 gantry-run status --json "$uuid"
recorded() { # PART FILE...: the digest is that of one of the files
  sha256sum "${@:2}" >"$T/sums"
  expect_text "^$(jq -r ".apps[0].verifiedBoot.$1" "$T/out" | cut -d: -f2) " "$T/sums"
}
recorded kernel "$(gantry_kernel)"
recorded initramfs "$T"/store/vm/initramfs-*
recorded root "$T"/store/layers/*.e*/root
expect_exit 0 gantry-run status "$uuid"
expect_text '^root-image=sha256:' "$T/out"
gantry-run rm -f "$uuid" >/dev/null

# Its first process is small, and needs nothing else.
size=$(stat -c %s "$GANTRY_BUILD_DIR/runner/gantry_guest")
[ "$size" -lt 1048576 ] || fail "the guest's init has $size bytes"
readelf -l "$GANTRY_BUILD_DIR/runner/gantry_guest" >"$T/headers"
! grep INTERP "$T/headers" || fail "the guest's init is not static"

expect_exit 127 "${vm[@]}" --entrypoint /no/such "oci:$T/image"
expect_text "cannot execute '/no/such': not found" "$T/err"
for _ in $(seq 400); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
