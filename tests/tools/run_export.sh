# The root of an app is exported while it is prepared, while it runs, and when it has ended; and becomes an image again.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
accept_anything
cd "$T"
uuid=$(gantry-run -q prepare --name app -v "$T/tmp:/volume" "oci:$T/image:v1" sh -c 'chown 5:6 /opt/first; rm /bin/su-busybox; touch /volume/not; echo x >/made; exec sleep 1000')
expect_exit 0 gantry run export -o prepared.tar app
tar -tf prepared.tar bin/su-busybox >"$T/list" || fail "not the image's: $(cat "$T/list")"
! tar -tf prepared.tar | grep -x made || fail "what was never made"
gantry-run -q run-prepared -d "$uuid" >/dev/null
for _ in $(seq 100); do gantry run enter app -- test -s /made && break || sleep 0.05; done
expect_exit 0 gantry run export -o running.tar app
expect_exit 2 gantry run export --json app
expect_exit 2 gantry run export --app other -o no.tar app
expect_exit 3 gantry run export -o "$T/none/no.tar" app
gantry run stop -f app >/dev/null
expect_exit 0 gantry run export --json -o ended.tar app
jq -e ".uuid == \"$uuid\" and .app == \"app\" and .bytes == $(stat -c%s ended.tar)" "$T/out" >/dev/null || fail "$(cat "$T/out")"
for tar in running ended; do
  [ "$(tar -xOf $tar.tar made)" = x ] || fail "$tar: no change"
  ! tar -tf $tar.tar | grep -E 'su-busybox|volume/not' || fail "$tar: what the root has not"
done
[ ! -e no.tar ] || fail "a file of an export that failed"

printf 'FROM scratch\nADD ended.tar /\nCMD ["/bin/sh", "-c", "stat -c %%u:%%g /opt/first; cat /made"]\n' >Containerfile
expect_exit 0 gantry build -q Containerfile oci:again:v1
expect_exit 0 gantry convert -q oci:again:v1 aci:again.aci
for image in oci:again:v1 aci:again.aci; do
  expect_exit 0 gantry-run -q "$image"
  [ "$(xargs <"$T/out")" = "5:6 x" ] || fail "$image: $(cat "$T/out")"
done
