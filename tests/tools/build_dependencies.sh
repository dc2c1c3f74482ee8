# An ACI on dependencies, as acbuild's examples are made: commands see them, the ACI has only what they changed, and runs
# on them; what a command removed of a dependency is gone.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
mkdir "$T/work" && cd "$T/work"
gantry build begin "oci:$T/base:v1"
gantry build set-name example.com/shell
gantry build label add version 1
gantry build write shell.aci >/dev/null
gantry build end
cat >server.acb <<'END'
begin
set-name example.com/server
dep add example.com/shell --label version=1
run mkdir -p /srv/www
run -- /bin/sh -c "echo 'ServerName localhost' >> /srv/httpd.conf && rm /opt/first && ls /etc/passwd"
copy page /srv/www/index.html
copy page /tmp/page
port add http tcp 80
mount add html /srv/more
set-exec -- /bin/sh -c "cat /srv/httpd.conf /srv/www/index.html; ls /opt; stat -c %a /tmp"
write --overwrite server.aci
END
echo page >page
gantry build --debug script server.acb >out 2>err || fail "$(cat err)"
tar -xOzf server.aci manifest | jq -e '.dependencies[0].imageName == "example.com/shell" and (.pathWhitelist | index("/opt/second") and (index("/opt/first") | not))' \
  >/dev/null || fail "$(tar -xOzf server.aci manifest | head -c 2000)"
! tar -tzf server.aci | grep -q busybox || fail "the dependency is in the ACI"
[ "$(gantry run -q aci:server.aci | tr '\n' ' ')" = 'ServerName localhost page second 1777 ' ] || fail "$(gantry run -q aci:server.aci)"

# From the store, and named; one that is not here, and one that was exchanged.
mkdir elsewhere && mv shell.aci elsewhere
expect_exit 3 gantry build script server.acb
expect_text "server.acb: line 4: the dependency 'example.com/shell' is not here" "$T/err"
gantry build --dependency elsewhere/shell.aci script server.acb >/dev/null
gantry convert -q "oci:$T/base:v1" store:example.com/shell:1
gantry build begin && gantry build set-name a/b && gantry build dep add example.com/shell --label version=1
gantry build run -- ls /bin/busybox >/dev/null
cp elsewhere/shell.aci .
expect_exit 1 gantry build run -- true
expect_text 'the dependency example.com/shell:1 is another image by now' "$T/err"
expect_exit 7 gantry build write oci:out
gantry build abort
