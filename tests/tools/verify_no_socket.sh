# gantry verify decides offline by construction: its seccomp filter leaves it no socket of any kind, also in the gpg that it
# starts. What is loaded into it tries each; the same in gantry convert, which may have Unix sockets, shows that it sees.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg

probe=$GANTRY_BUILD_DIR/lib/libsocket_probe.so
[ -e "$probe" ] || fail "no $probe"
make_gpg_key tester
# A signature with a notation is no plain one, so that gpg is asked.
echo 'sig-notation probe@gantry.example=1' >>"$GNUPGHOME/gpg.conf"
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
expect_exit 0 gantry sign -q --key "$fingerprint" --as quay.io/org/app:v1 "oci:$T/layout:v1"
expect_exit 0 gantry trust add -q --yes --key "$T/tester.pub.gpg" docker://quay.io/org/app

expect_exit 0 env LD_PRELOAD="$probe" gantry-verify --as quay.io/org/app:v1 "oci:$T/layout:v1"
for family in unix inet inet6 netlink vsock; do
  expect_text "^probe: $family refused\$" "$T/err"
  expect_text "^probe: $family filtered\$" "$T/err"
done
expect_text '^probe: pair refused$' "$T/err"
expect_text '^probe: io_uring refused$' "$T/err"
! grep -q 'made\|unfiltered' "$T/err" || fail "$(cat "$T/err")"

gantry convert -q --insecure-options=image "oci:$T/layout:v1" store:quay.io/org/app:v1 >/dev/null 2>&1
expect_exit 0 gantry sign -q --key "$fingerprint" quay.io/org/app:v1
expect_exit 0 env LD_PRELOAD="$probe" gantry-convert store:quay.io/org/app:v1 "oci:$T/copy:v1"
expect_text '^probe: unix made$' "$T/err"
expect_text '^probe: inet refused$' "$T/err"

# What has no network has no library for it either.
for name in build convert diff inspect keygen oci run sign store trust verify; do
  program=$(command -v "gantry-$name")
  ! readelf -d "$program" | grep 'libcurl' || fail "gantry-$name is linked with libcurl"
done
