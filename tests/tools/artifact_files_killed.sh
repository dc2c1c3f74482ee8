# kill -9 while files: writes leaves none under its name, and what it left hidden the next run removes; but not what another
# writes there meanwhile.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
accept_anything
cd "$T"
truncate -s 2G big && echo one >one.txt
make_artifact "$T/big-one" v1 application/vnd.example.v1 big >/dev/null
make_artifact "$T/small" v1 application/vnd.example.v1 one.txt >/dev/null
rm big
mkdir into
names() { find into -mindepth 1 -maxdepth 1 -name '.*' | sort; }
hidden() { names | wc -l; }
begin() {
  names >before
  gantry-convert -q oci:big-one:v1 files:into &
  pid=$!
  until [ -n "$(names | comm -13 before -)" ]; do
    kill -0 $pid 2>/dev/null || fail "it was over before it was seen"
    sleep 0.01
  done
}
begin
kill -9 $pid
wait $pid 2>/dev/null || true
[ "$(hidden)" = 1 ] && [ ! -e into/big ] || fail "$(find into)"
begin
expect_exit 0 gantry convert oci:small:v1 files:into
[ "$(hidden)" = 1 ] || fail "it took what another one writes: $(find into)"
kill -STOP $pid && kill -9 $pid
wait $pid 2>/dev/null || true
expect_exit 0 gantry convert --overwrite oci:small:v1 files:into
[ "$(ls -A into)" = one.txt ] || fail "left: $(ls -A into)"
