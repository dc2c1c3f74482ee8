# A fetch that fills the disk says so, and what it has brought in part does not stay there to keep it full; with room it
# brings everything.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -m
accept_anything
start_registry
mkdir "$T/one" "$T/two" "$T/store"
for dir in one two; do head -c 12000000 /dev/urandom >"$T/$dir/data-$dir"; done
make_image "$T/layout" v1 '{"Cmd":["/x"]}' "$T/one" "$T/two"
push "$T/layout:v1" large:v1
mount -t tmpfs -o size=20m,mode=0755 tmpfs "$T/store"
at_exit "umount -l $T/store"
expect_exit 1 gantry-fetch -q "docker://$registry/large:v1"
expect_text 'No space left on device' "$T/err"
expect_text 'free some space' "$T/err"
! ls "$T/store/tmp" | grep partial || fail "in part: $(ls -l "$T/store/tmp")"
mount -o remount,size=60m "$T/store"
expect_exit 0 gantry-fetch -q "docker://$registry/large:v1"
expect_exit 0 gantry-store check
