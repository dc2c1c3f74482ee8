# The classes of escape that runtimes have had and that the tests of bundles (oci_hostile, oci_hostile_root, oci_exec) and
# of the parts do not name: a case for each.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need script
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$
mkdir -p "$T/host"
echo precious >"$T/host/file"
up=$(printf '../%.0s' {1..30})${T#/}/host

# CVE-2016-9962: who looks at every process of the container all the time sees nothing of the runtime that comes in.
make_bundle '.process.args=["sh","-c","while :; do ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd /proc/[0-9]*/root >>/tmp/seen 2>/dev/null; done"] |
  .process.capabilities |= map_values(. + ["CAP_SYS_PTRACE"])'
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
for _ in $(seq 30); do oci exec "$c" true </dev/null >/dev/null 2>&1; done
oci delete --force "$c"
[ -s "$bundle/rootfs/tmp/seen" ] || fail "nothing was seen at all"
sed -n 's/.* -> //p' "$bundle/rootfs/tmp/seen" | grep -Evx "/|(/.*)?/dev/null|/tmp/seen|/proc(/.*)?|/memfd:.*|(/.*)?/sys/fs/cgroup/.*/$c(/.*)?|(pipe|socket|anon_inode):.*" | sort -u >"$T/out" || true
[ ! -s "$T/out" ] || fail "the container saw: $(cat "$T/out")"

# CVE-2021-43784: what is longer than a 16 bit length can say arrives as it is, and says nothing else.
make_bundle '("a" * 70000) as $long | .process.args=["sh","-c","echo ${#A} ${#B} $C; id -u"] |
  .process.env+=["A=" + $long, "B=" + $long + "0 0 4294967295", "C=end"]'
run_bundle 0
expect_text '^70000 70014 end$' "$T/out"

# CVE-2022-29162, CVE-2022-27650: nothing can be inherited, at the start and by who comes later.
make_bundle '.process.args=["sleep","100"]'
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
for flags in '' '--cap CAP_NET_RAW' '--cap CAP_NET_RAW -u 1000'; do
  # shellcheck disable=SC2086
  [ "$(oci exec $flags "$c" grep CapInh /proc/self/status)" = "CapInh:	0000000000000000" ] || fail "exec $flags: inheritable capabilities"
done
[ "$(grep CapInh "/proc/$(oci state "$c" | jq .pid)/status")" = "CapInh:	0000000000000000" ] || fail "inheritable capabilities"
oci delete --force "$c"
make_busybox_image "$T/image" v1
for flags in '' '-u 1000' '--cap-add NET_RAW' '--security-opt no-new-privileges=false'; do
  # shellcheck disable=SC2086
  [ "$(gantry-run -q --insecure-options=image $flags "oci:$T/image:v1" grep CapInh /proc/self/status)" = "CapInh:	0000000000000000" ] ||
    fail "run $flags: inheritable capabilities"
done

# CVE-2024-21626: neither a working directory nor a descriptor of the app's is one of ours, by whatever name it is asked for.
for fd in 3 4 5 6 7 8 9 10 11 12; do
  ! gantry-run -q --insecure-options=image -w "/proc/self/fd/$fd" "oci:$T/image:v1" true 2>/dev/null || fail "it ran in descriptor $fd"
done
[ "$(gantry-run -q --insecure-options=image "oci:$T/image:v1" ls /proc/self/fd 8<"$T/host" | xargs)" = '0 1 2 3' ] || fail "descriptors"
expect_exit 125 bash -c 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"' bash gantry-run -q --insecure-options=image "oci:$T/image:v1" ls -l /proc/self/fd 3<&-
expect_text 'which is not open' "$T/err"
uuid=$(gantry-run -q --insecure-options=image -d "oci:$T/image:v1" sleep 1000)
for fd in 3 4 5 6 7 8 9 10 11 12; do
  ! gantry-run enter -w "/proc/self/fd/$fd" "$uuid" true 2>/dev/null 8<"$T/host" || fail "it was entered in descriptor $fd"
done
gantry-run rm -f "$uuid" >/dev/null

# CVE-2023-25809: control groups of the host are neither written to nor seen, also where the container has none of its own.
for user in '' $(unshare -U true 2>/dev/null && echo as_user); do
  chmod -R a+rX "$T/image"
  $user gantry-run -q --insecure-options=image "oci:$T/image:v1" sh -c 'cat /proc/self/cgroup; for f in $(find /sys/fs/cgroup -name cgroup.procs); do echo $$ >$f && echo written; done; true' >"$T/out" 2>/dev/null
  expect_text ':/$' "$T/out"
  ! grep -v ':/$' "$T/out" || fail "$user: it sees or writes to the host's"
done

# CVE-2019-19921, CVE-2023-27561, CVE-2026-41579, CVE-2026-47766: links in the places of kernel file systems.
mkdir -p "$T/links/bin" "$T/links/tmp"
cp "$(command -v busybox)" "$T/links/bin/busybox"
ln -s busybox "$T/links/bin/true"
for name in proc sys dev; do
  for to in tmp "$up" proc/1/root; do
    rm -rf "$T/links/$name" "$T/linked"
    ln -s "$to" "$T/links/$name"
    make_image "$T/linked" v1 '{"Cmd":["true"]}' "$T/links"
    expect_exit 125 gantry-run -q --insecure-options=image "oci:$T/linked:v1"
    expect_text 'the image has a link or a file in its place' "$T/err"
  done
  rm "$T/links/$name"
done
# CVE-2021-30465, CVE-2019-18837, CVE-2024-45310: links in the path of what is mounted or made stay inside.
mkdir "$T/links/run"
ln -s "$up" "$T/links/out"
ln -s "$up" "$T/links/run/secrets"
make_image "$T/led" v1 '{"Cmd":["true"]}' "$T/links"
for flags in "-v $T/base:/out/a" "--tmpfs /out/b" "--secret k=$T/host/file" "-w /out/c" "--device /dev/full:/out/d" "--mount type=empty,source=e,target=/out/e"; do
  # shellcheck disable=SC2086
  gantry-run -q --insecure-options=image $flags "oci:$T/led:v1" >"$T/out" 2>"$T/err" || true
  [ "$(ls "$T/host")" = file ] || fail "$flags: the host has $(ls "$T/host")"
done

# CVE-2025-52565: a link in place of /dev/console leads the terminal nowhere.
make_bundle '.process.args=["tty"] | .process.terminal=true | .mounts |= map(select(.destination != "/dev"))'
mkdir -p "$bundle/rootfs/dev"/{pts,shm,mqueue}
ln -s "$up/file" "$bundle/rootfs/dev/console"
script -qec "gantry-oci --root $T/state run --bundle $bundle $c" /dev/null </dev/null >"$T/out" 2>&1 || true
[ "$(cat "$T/host/file")" = precious ] || fail "the terminal went over the host's file"
! grep -q "$T/host" /proc/self/mounts || fail "a mount on the host's file"

# CVE-2025-24965: what we write into the root stays in it, whatever links are there.
mkdir -p "$T/base/bin"
cp "$(command -v busybox)" "$T/base/bin/busybox"
ln -s busybox "$T/base/bin/cat"
ln -s "$up" "$T/base/etc"
make_image "$T/evil" v1 '{"Cmd":["cat","/etc/hostname"]}' "$T/base"
gantry-run -q --insecure-options=image --hostname mine "oci:$T/evil:v1" >"$T/out" 2>"$T/err" || true
[ "$(ls "$T/host")" = file ] || fail "written outside: $(ls "$T/host")"
rm "$T/base/etc"
mkdir "$T/base/etc"
for name in hostname hosts resolv.conf; do ln -s "$up/file" "$T/base/etc/$name"; done
make_image "$T/evil" v2 '{"Cmd":["cat","/etc/hostname"]}' "$T/base"
expect_exit 0 gantry-run -q --insecure-options=image --hostname mine "oci:$T/evil:v2"
expect_text '^mine$' "$T/out"
[ "$(cat "$T/host/file")" = precious ] || fail "the host's file has: $(cat "$T/host/file")"
