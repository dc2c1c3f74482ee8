# An ordinary user runs images too: with a range of ids in /etc/subuid, and without one.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox setpriv
[ "$(id -u)" = 0 ] || skip "makes throw-away users"
unshare -U true 2>/dev/null || skip "no user namespaces here"

mkdir -p "$T/base/bin" "$T/base/etc"
cp "$(command -v busybox)" "$T/base/bin/busybox"
for name in sh cat id touch chown stat; do ln -s busybox "$T/base/bin/$name"; done
echo 'web:x:33:34::/:/bin/sh' >"$T/base/etc/passwd"
make_image "$T/image" v1 '{"Cmd":["/bin/sh"]}' "$T/base"
chmod -R a+rX "$T/image"

# as USER OPTIONS...: runs the image as USER, with a store of its own.
as() {
  local user=$1
  shift
  mkdir -p "$T/home-$user"
  chown "$user:$user" "$T/home-$user"
  expect_exit "$want" setpriv --reuid="$user" --regid="$user" --clear-groups env HOME="$T/home-$user" \
    GANTRY_ROOT="$T/home-$user/store" XDG_CONFIG_HOME="$T/home-$user" gantry-run -q --insecure-options=image "$@"
}

want=4 as 54321 "oci:$T/image" sh -c 'id -u; touch /made; stat -c %u /made; cat /proc/self/uid_map; exit 4'
expect_text '^0$' "$T/out"
expect_text '^ *0 +54321 +1$' "$T/out"
want=0 as 54321 "oci:$T/image" --name one -- id -u --- "oci:$T/image" --name two -- id -g
[ "$(xargs <"$T/out")" = "0 0" ] || fail "two apps: $(cat "$T/out")"
want=125 as 54321 -u web "oci:$T/image" id
expect_text 'only id 0 is mapped: /etc/subuid has no range of at least 1000 ids' "$T/err"

command -v newuidmap >/dev/null && command -v useradd >/dev/null || skip "no newuidmap or useradd: the rest is not tested"
user=gantry-test-$$
useradd -M "$user"
at_exit 'userdel "$user"'
grep -q "^$user:" /etc/subuid || skip "useradd gives no range here"
want=0 as "$user" "oci:$T/image" sh -c 'touch /made; chown 77:78 /made; stat -c %u:%g /made; cat /proc/self/status'
expect_text '^77:78$' "$T/out"
expect_text '^NoNewPrivs:.1$' "$T/out"
expect_text '^CapEff:.00000000800405fb$' "$T/out"
want=0 as "$user" -u web "oci:$T/image" id
expect_text 'uid=33\(web\) gid=34' "$T/out"
for _ in $(seq 100); do [ -n "$(ls -A "$T/home-$user/store/pods")" ] || break; sleep 0.05; done # the keeper needs a moment
[ -z "$(ls -A "$T/home-$user/store/pods")" ] || fail "a pod is left"
