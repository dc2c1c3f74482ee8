# Flags of gantry-oci that engines give, each by what it does; and the commands that need no container.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way; oci_rootless is the other"
c=gantry-test-$$

# Errors are also lines of the log, in the format that is asked for.
expect_exit 3 gantry-oci --debug --log "$T/log" --log-format json --root "$T/state" start "$c"
jq -e '.level == "error" and (.msg | contains("does not exist")) and (.time | test("^20.*T.*"))' "$T/log" >/dev/null || fail "$(cat "$T/log")"
expect_exit 3 gantry-oci --log "$T/text" --log-format text --root "$T/state" start "$c"
expect_text 'level=error.*does not exist' "$T/text"
oci features | jq -e '.ociVersionMax | startswith("1.")' >/dev/null || fail "$(oci features)"
oci features | jq -e '.linux.namespaces | index("time") and index("cgroup")' >/dev/null || fail "$(oci features)"
mkdir "$T/new"
oci spec --bundle "$T/new"
jq -e '.process.args == ["sh"] and (.linux.namespaces | map(.type) | index("user") | not)' "$T/new/config.json" >/dev/null || fail spec
expect_exit 2 oci spec --bundle "$T/new"
rm "$T/new/config.json"
oci spec --rootless --bundle "$T/new"
jq -e '.linux.uidMappings[0].size == 1' "$T/new/config.json" >/dev/null || fail "spec --rootless"

# What is not there is said so, whatever else is asked for with it.
for verb in checkpoint restore; do
  expect_exit 7 oci "$verb" --help
  expect_exit 7 oci "$verb" --image-path "$T" --leave-running "$c"
done

# No control groups: it runs in the caller's; limits are refused, device rules told of.
make_bundle '.process.args=["cat","/proc/self/cgroup"]'
expect_exit 0 gantry-oci --cgroup-manager disabled --root "$T/state" run --bundle "$bundle" "$c"
! grep -q "$c" "$T/out" || fail "a control group of its own: $(cat "$T/out")"
change_bundle '.linux.resources.devices=[{"allow":false,"access":"rwm"}]'
expect_exit 0 gantry-oci --cgroup-manager disabled --root "$T/state" run --bundle "$bundle" "$c"
expect_text 'device rules are not enforced' "$T/err"
change_bundle '.linux.resources.pids.limit=10'
expect_exit 7 gantry-oci --cgroup-manager disabled --root "$T/state" run --bundle "$bundle" "$c"
expect_exit 2 gantry-oci --cgroup-manager disabled --systemd-cgroup --root "$T/state" run --bundle "$bundle" "$c"
nothing_is_left "$c"

# Another configuration; the session's keyring; a root without pivot_root; state that is kept.
make_bundle '.process.args=["cat","/proc/keys"] | .linux.maskedPaths=[] | .process.capabilities={}'
mv "$bundle/config.json" "$T/other.json"
expect_exit 0 oci run --config "$T/other.json" --bundle "$bundle" "$c"
expect_text "_ses.$c" "$T/out"
# Under another name: the kernel may still have the keyring of the first.
expect_exit 0 oci run --no-new-keyring --no-subreaper --config "$T/other.json" --bundle "$bundle" "$c-2"
! grep -q "_ses.$c-2" "$T/out" || fail "a keyring of its own: $(cat "$T/out")"
jq '.process.args=["sh","-c","ls /; ls /proc/1/root/"]' "$T/other.json" >"$bundle/config.json"
touch "$bundle/rootfs/inside"
expect_exit 0 oci run --no-pivot --bundle "$bundle" "$c"
[ "$(grep -c '^inside$' "$T/out")" = 2 ] && ! grep -q '^usr$' "$T/out" || fail "the root is $(xargs <"$T/out")"
expect_exit 0 oci run --keep --bundle "$bundle" "$c"
[ "$(oci state "$c" | jq -r .status)" = stopped ] || fail "$(oci state "$c")"
[ "$(oci list --quiet)" = "$c" ] || fail "$(oci list --quiet)"
[ "$(oci list --format json | jq -r '.[0].id')" = "$c" ] || fail "$(oci list --format json)"
oci delete "$c"
nothing_is_left "$c"
