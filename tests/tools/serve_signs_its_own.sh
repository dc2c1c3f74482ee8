# gantry-serve signs what it has converted, never what somebody put into its cache in its place: then, and when a server of
# before left it unsigned, the image is made anew and that is signed.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo gpg
registry_with_busybox box:v1
accept_anything
make_gpg_key server
start_server --cache "$T/cache" --sign-key "$fingerprint"
expect_status 200 "$(aci_url box v1)"
cp "$T/body" "$T/box.aci"

# plant: another image, as whoever holds the process that talks to clients could put it there.
plant() {
  local file
  file=$(echo "$T"/cache/files/*.aci)
  gantry-convert --insecure-options=image --name 127.0.0.1/box --overwrite "oci:$T/layout:evil" "aci:$T/evil.aci" >"$T/out"
  cmp -s "$T/evil.aci" "$T/box.aci" && fail "nothing was planted"
  cat "$T/evil.aci" >"$file"
}
# expect_own: the signature is for what was converted, which is what is served.
expect_own() {
  expect_status 200 "$(aci_url box v1 | sed 's/aci?/aci.asc?/')"
  expect_exit 0 gpg --verify "$T/body" "$T/box.aci"
  expect_exit 1 gpg --verify "$T/body" "$T/evil.aci"
  expect_status 200 "$(aci_url box v1)"
  cmp "$T/body" "$T/box.aci" || fail "what was planted is served beside the signature of something else"
}
mkdir "$T/evil"
echo evil >"$T/evil/file"
make_image "$T/layout" evil '{"Cmd":["evil"]}' "$T/evil"
plant
expect_own

rm "$T"/cache/files/*.asc
sed -i 's/"signedBy":"[^"]*"/"signedBy":""/' "$T"/cache/records/*.json
stop_server
plant
start_server --cache "$T/cache" --sign-key "$fingerprint"
expect_own

# Who signs is told which file is meant, and looks at what gpg has read.
expect_exit 5 gantry-sign --key "$fingerprint" --file-digest "sha256:$(sha256sum <"$T/box.aci" | cut -d' ' -f1)" "aci:$T/evil.aci"
[ ! -e "$T/evil.aci.asc" ] || fail "it was signed"
