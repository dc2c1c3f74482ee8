# gantry-store knows the App Container Images that were fetched by appc names: lists, shows, checks and removes them, and
# collects what was left half fetched but nothing that is being fetched.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo gpg jq
registry_with_busybox org/box:v1
push "$T/layout:v1" "org/$(printf 'long-%.0s' {1..30})name:v1"
accept_anything
make_gpg_key server
start_server --url http://images.test --sign-key "$fingerprint"
for name in org/box "org/$(printf 'long-%.0s' {1..30})name"; do
  http_proxy=http://$server expect_exit 0 gantry-fetch --insecure-options=http "appc:images.test/$name:v1"
done
name=appc:images.test/org/box:v1 file=$(echo "$GANTRY_ROOT"/aci/*box*.aci)
full=$name,os=linux,arch=$(image_architecture | sed 's/arm64/aarch64/')

expect_exit 0 gantry-store list
expect_text "^$full +- +linux/$(image_architecture) +[0-9.]+ [KM]iB\$" "$T/out"
expect_text '^appc:images.test/org/long-.*-name:v1,.* linux/' "$T/out"
[ "$(ls "$GANTRY_ROOT"/aci/*.aci | wc -l)" = 2 ] || fail "$(ls "$GANTRY_ROOT/aci")"
expect_exit 0 gantry-store -q list
expect_text "^$full\$" "$T/out"
expect_exit 0 gantry-store --json list
[ "$(jq -r --arg n "$full" '.[] | select(.name == $n) | .signed' "$T/out")" = true ] || fail "$(cat "$T/out")"
for called in "$name" "$full"; do
  expect_exit 0 gantry-store show "$called"
  expect_text '^Image ID +sha512:[0-9a-f]{128}$' "$T/out"
  expect_text '^Signature +beside it$' "$T/out"
done
expect_exit 3 gantry-store show appc:images.test/org/box:v2
expect_exit 0 gantry-store check

# What dead fetches left goes; what a living one is at stays.
touch "$file.part" "$GANTRY_ROOT/aci/other.aci.part" "$GANTRY_ROOT/aci/gone.aci.asc" "$GANTRY_ROOT/aci/other.aci.asc"
exec 9<"$GANTRY_ROOT/aci/other.aci.part"
flock 9
expect_exit 0 gantry-store check
expect_text '^aci/.*box.*.aci.part: left by a dead process$' "$T/out"
expect_exit 0 gantry-store gc --dry-run
expect_text ', 2 leftovers$' "$T/out"
[ -e "$file.part" ] || fail "a dry run removed something"
expect_exit 0 gantry-store gc
[ ! -e "$file.part" ] && [ ! -e "$GANTRY_ROOT/aci/gone.aci.asc" ] || fail "left: $(ls "$GANTRY_ROOT/aci")"
[ -e "$GANTRY_ROOT/aci/other.aci.part" ] && [ -e "$GANTRY_ROOT/aci/other.aci.asc" ] || fail "what is being fetched is gone"
exec 9<&-
[ -e "$file" ] && [ -e "$file.asc" ] || fail "gc removed an image that has a name"
expect_exit 0 gantry-run --insecure-options=image "$name" true

# Not what its name says, and nothing at all.
cp "$file" "${file/box/bag}"
expect_exit 5 gantry-store check
expect_text '^aci/.*bag.*.aci: ' "$T/out"
rm "${file/box/bag}"
head -c 1000 "$file" >"$T/short" && cat "$T/short" >"$file"
expect_exit 5 gantry-store check
expect_exit 5 gantry-store show "$name"
expect_exit 3 gantry-store rm "$name" nothing
[ -e "$file" ] || fail "removed beside a typing error"
# Not between a fetch's two files.
exec 9<>"$file.part"
flock 9
gantry-store rm "$name" >"$T/out" 9<&- &
removing=$!
started_pids+=("$removing")
for _ in $(seq 100); do ! grep -q -- "-> FLOCK .* $removing " /proc/locks || break; sleep 0.05; done
[ -e "$file" ] && [ -e "$file.asc" ] || fail "removed while it is fetched"
exec 9<&-
wait "$removing" || fail "rm failed"
[ "$(cat "$T/out")" = "$full" ] || fail "rm: $(cat "$T/out")"
[ ! -e "$file" ] && [ ! -e "$file.asc" ] && [ ! -e "$file.part" ] || fail "left: $(ls "$GANTRY_ROOT/aci")"
# A name is text, whatever its file is called.
echo x >"$GANTRY_ROOT/aci/"$'bad\e[31m.aci'
expect_exit 0 gantry-store rm --all
expect_text '^appc:unreadable/bad' "$T/out"
! grep -q $'\e' "$T/out" || fail "an escape sequence: $(cat -v "$T/out")"
[ -z "$(gantry-store -q list)" ] || fail "left: $(gantry-store list)"
