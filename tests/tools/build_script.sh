# acbuild's script format, with its own example in small: a script makes an ACI, and nothing of the build is left.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
mkdir "$T/work" && cd "$T/work"
cat >apache.acb <<END
#!/usr/bin/env acbuild-script

# Start the build
begin oci:$T/base:v1
set-name example.com/apache

run -- mkdir -p /etc/apache2
run -- /bin/sh -c "echo 'ServerName localhost' >> /etc/apache2/httpd.conf"
env add MODE test

# Add a port for http traffic on port 80
Port add http tcp 80
mount add html /var/www/localhost/htdocs
set-exec -- /bin/sh -c "cat /etc/apache2/httpd.conf && \\
  echo \$MODE"
write --overwrite apache.aci
write --format oci apache
END
gantry build script apache.acb >/dev/null
[ ! -e .gantry-build ] || fail "the build is still there"
tar -xOzf apache.aci manifest | jq -e '(.app.ports | map(.name) | index("http")) and .name == "example.com/apache"' >/dev/null ||
  fail "$(tar -xOzf apache.aci manifest)"
[ "$(gantry run -q oci:apache | tr '\n' ' ')" = 'ServerName localhost test ' ] || fail "$(gantry run oci:apache)"

# Options of acbuild's that a script may have: the other mode writes an OCI image in one file.
printf '%s\n' "begin --build-mode=oci --insecure oci:$T/base:v1" 'set-working-directory /home' 'run --insecure --engine chroot -- touch /made' \
  'set-exec -- ls /made' 'annotation add who me' 'annotation remove who' 'layer' 'write image.tar' 'end' >oci.acb
gantry build -q script oci.acb >/dev/null
[ "$(gantry run -q oci-archive:image.tar)" = /made ] || fail "$(gantry run oci-archive:image.tar)"

# What fails says its line, and leaves nothing.
printf 'begin\nset-name a/b\nfrobnicate\n' >bad.acb
expect_exit 2 gantry build script bad.acb
expect_text 'bad.acb: line 3: ' "$T/err"
[ ! -e .gantry-build ] || fail "the build of a failed script is there"
