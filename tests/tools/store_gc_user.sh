# gantry store gc of an ordinary user removes layers with files of that user's range of ids.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "SKIP: only root can give a user a range of ids"; exit 77; }
if [ -z "${IN_OWN_MOUNTS:-}" ]; then
  unshare -m true 2>/dev/null || { echo "SKIP: no right to make a mount namespace"; exit 77; }
  IN_OWN_MOUNTS=1 exec unshare -m bash "$0"
fi
. "$(dirname "$0")/../support/lib.sh"
need newuidmap newgidmap
unshare -U true 2>/dev/null || skip "no user namespaces here"
first=400000
for file in /etc/subuid /etc/subgid; do
  [ -e "$file" ] || skip "there is no $file to cover"
  echo "nobody:$first:65536" >"$T/range"
  mount --bind "$T/range" "$file"
done

store=$T/user/.local/share/gantry
as_user true
make_busybox_image "$store" docker.io/library/one:latest
chown -R 65534:65534 "$T/user/.local"
expect_exit 0 as_user gantry-store gc
layer=$store/layers/sha256-$(printf 'a%.0s' {1..64}).u$first
mkdir -p "$layer/var/partial"
: >"$layer/var/partial/file"
chmod 0700 "$layer/var/partial"
chown -R "$((first + 99)):$((first + 99))" "$layer/var"
chown 65534:65534 "$layer"
as_user rm -r "$layer" 2>"$T/err" && fail "the user could remove it without the range"
expect_exit 0 as_user gantry-store gc
expect_text '1 rendered layer' "$T/out"
[ -z "$(ls -A "$store/layers")" ] || fail "something of the layer is left"
expect_exit 0 as_user gantry-store check
echo '{' >"$store/index.json"
expect_exit 5 as_user gantry-store gc
expect_text 'index.json' "$T/err"
