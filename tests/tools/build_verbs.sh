# An image step by step, on a base and as every format; what is in it is what was asked for, and it runs.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root; build_rootless.sh is for others"
accept_anything
make_busybox_image "$T/base" v1
mkdir -p "$T/site/sub" "$T/work" && cd "$T/work"
echo page >"$T/site/index.html" && echo more >"$T/site/sub/more"
ln "$T/site/index.html" "$T/site/same"

gantry build begin "oci:$T/base:v1"
gantry build set-name example.com/web
gantry build set-exec -- /bin/sh -c 'cat /srv/*.html /made; id -u'
gantry build set-user app
gantry build set-working-dir /srv
gantry build label add version 1.0
gantry build annotation add authors someone
gantry build environment add GREETING hi
gantry build environment rm PATH
gantry build port add http tcp 8080
gantry build mount add data /data --read-only
gantry build dependency add example.com/other && gantry build dependency rm example.com/other
gantry build copy "$T/site" /srv
gantry build copy-to-dir "$T/site/index.html" /opt
gantry build run -- sh -c 'echo made >/made; rm /opt/first; ls /sys/class/net'
[ "$(gantry build run -- ls /sys/class/net)" = lo ] || fail "a command has a network"
[ "$(gantry build run --net -- ls /sys/class/net)" = "$(ls /sys/class/net)" ] || fail "--net gives another network"
gantry build set-event-handler pre-start -- /bin/true
echo '{"limit":"1G"}' | gantry build isolator add resource/memory -
gantry build cat-manifest --pretty-print >manifest
[ "$(jq -r '.app.isolators[0].name + .app.eventHandlers[0].name' manifest)" = resource/memorypre-start ] || fail "$(cat manifest)"
expect_exit 3 gantry build label rm nothing

gantry build write web.aci >/dev/null
gantry build write --format oci layout >/dev/null
gantry build write --format docker web.tar >/dev/null
gantry build write oci:squashed:v1 --squash >/dev/null
expect_exit 1 gantry build write web.aci
[ "$(jq -r '.config.Env | length' <(gantry build cat-manifest --format oci))" = 1 ] || fail "$(gantry build cat-manifest --format oci)"
tar -xOzf web.aci manifest | jq -e '.name == "example.com/web" and (.app.ports | map(.name) | index("http")) and
  .app.user == "app" and (.labels | map(.value) | index("1.0")) and (.app.mountPoints | map(.name) | index("data"))' >/dev/null || fail "$(tar -xOzf web.aci manifest)"
tar -tzf web.aci >names
expect_text '^rootfs/srv/sub/more$' names
expect_text '^rootfs/made$' names
! grep -E '^rootfs/(opt/first|etc/hosts)$' names || fail "what is gone or the runner's is there"
gantry build set-supp-groups 10 20 && gantry build set-tag 2.0 && gantry build layer
gantry build port add more tcp 9000 && gantry build port rm 9000 && gantry build mount rm /data
gantry build cat-manifest >manifest
jq -e '.app.supplementaryGIDs == [10,20] and (.labels | map(.value) | index("2.0")) and (.app.ports | map(.name) | index("more") | not)
  and (.app.mountPoints | map(.name) | index("data") | not)' manifest >/dev/null || fail "$(cat manifest)"
gantry build end
expect_exit 3 gantry build cat-manifest
[ "$(gantry run -q oci:layout | tr '\n' ' ')" = 'page made 1000 ' ] || fail "oci: $(gantry run oci:layout)"
[ "$(gantry run -q oci:squashed:v1 | tr '\n' ' ')" = 'page made 1000 ' ] || fail squashed
