# files: with something mounted below the directory: its files are copied there; where that cannot be written to, none appears.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
in_namespaces_of_its_own --user --map-root-user --mount
need jq
accept_anything
cd "$T"
echo one >one.txt && mkdir -p into/sub
make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt sub/two.txt=one.txt >/dev/null
mount -t tmpfs tmpfs into/sub
expect_exit 0 gantry convert oci:layout:v1 files:into
cmp one.txt into/one.txt && cmp one.txt into/sub/two.txt
expect_exit 1 gantry convert oci:layout:v1 files:into
expect_exit 0 gantry convert --overwrite oci:layout:v1 files:into
[ "$(find into | sort | xargs)" = 'into into/one.txt into/sub into/sub/two.txt' ] || fail "$(find into)"
rm into/one.txt into/sub/two.txt
mount -o remount,ro into/sub
expect_exit 1 gantry convert oci:layout:v1 files:into
[ "$(find into | sort | xargs)" = 'into into/sub' ] || fail "$(find into)"
umount into/sub
