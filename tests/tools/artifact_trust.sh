# An artifact is judged as an image is: unsigned it gets no name and no file; a signature by OpenPGP or a bare key counts for
# its digest and name alone, goes along from place to place, and says nothing about an image of that name.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq gpg
export COSIGN_PASSWORD=pass
cd "$T"
start_registry
echo one >one.txt && mkdir tree && echo text >tree/file
digest=$(make_artifact "$T/layout" v1 application/vnd.example.v1 one.txt)
other=$(make_artifact "$T/other" v1 application/vnd.example.v1 two.txt=tree/file)
push "$T/layout:v1" team/bundle:v1
push "$T/other:v1" team/bundle:v2
gantry keygen -q --output key >/dev/null
make_gpg_key dave
printf '{"default":[{"type":"reject"}],"transports":{"docker":{
  "%s/team":[{"type":"sigstoreSigned","keyPath":"%s"}], "localhost/gpg":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s"}]}}}' \
  "$registry" "$T/key.pub" "$T/dave.pub.gpg" >"$policy"

for command in "fetch docker://$registry/team/bundle:v1" "convert docker://$registry/team/bundle:v1 files:none" \
  "verify docker://$registry/team/bundle:v1" "sync $registry/team/bundle:v1 docker://$registry/team/copy/" "push oci:layout:v1 docker://$registry/none:v1"; do
  expect_exit 4 gantry $command
done
[ ! -e none ] && [ -z "$(gantry store list -q)" ] || fail "something got a name"
expect_exit 3 gantry tags "$registry/none"

for all in --all ""; do
  expect_exit 7 gantry sign $all --identity --key key.key "docker://$registry/team/bundle:v1"
  expect_text "no image but an artifact, of type 'application/vnd.example.v1'" "$T/err"
done
expect_exit 0 gantry sign --key key.key "docker://$registry/team/bundle:v1"
expect_exit 0 gantry verify --json "docker://$registry/team/bundle:v1"
jq -e --arg d "$digest" '.digest == $d and .code == "signed"' "$T/out" >/dev/null || fail "$(cat "$T/out")"
expect_exit 0 gantry fetch -q "docker://$registry/team/bundle:v1"
expect_exit 0 gantry verify "$registry/team/bundle:v1"
expect_exit 4 gantry fetch -q "docker://$registry/team/bundle:v2"
expect_exit 0 gantry convert "docker://$registry/team/bundle:v1" files:got
cmp one.txt got/one.txt
# The key's signature does not make another artifact of it, nor an image.
skopeo --insecure-policy copy -q --dest-tls-verify=false --src-tls-verify=false "docker://$registry/team/bundle:sha256-${digest#*:}.sig" \
  "docker://$registry/team/bundle:sha256-${other#*:}.sig"
expect_exit 4 gantry fetch -q "docker://$registry/team/bundle:v2"
expect_exit 125 gantry run "$registry/team/bundle:v1"

# The signature goes along, beside a layout and to the next repository; whoever fetches there by its name wants one for it.
expect_exit 0 gantry convert "$registry/team/bundle:v1" oci:signed:v1
expect_exit 0 gantry verify --as "$registry/team/bundle:v1" oci:signed:v1
expect_exit 0 gantry push --as "$registry/team/bundle:v1" oci:signed:v1 "docker://$registry/team/third:v1"
expect_exit 4 gantry verify "docker://$registry/team/third:v1"
expect_exit 0 gantry verify --as "$registry/team/bundle:v1" "docker://$registry/team/third:v1"
expect_exit 0 gantry sync --referrers "$registry/team/bundle:v1" "docker://$registry/moved/"
expect_exit 0 gantry verify --as "$registry/team/bundle:v1" "docker://$registry/moved/bundle:v1"

expect_exit 0 gantry fetch -q --referrers "docker://$registry/team/bundle:v1"
expect_exit 0 gantry push --json --no-signatures --referrers "$registry/team/bundle:v1" "docker://$registry/team/fourth:v1"
expect_text '"referrers":1' "$T/out"
expect_exit 0 gantry verify --as "$registry/team/bundle:v1" "docker://$registry/team/fourth:v1"

# OpenPGP, in a lookaside; and what a dry run tells.
expect_exit 4 gantry verify --as localhost/gpg/a:v1 oci:layout:v1
expect_exit 0 gantry sign --key "$fingerprint" --as docker://localhost/gpg/a:v1 oci:layout:v1
expect_exit 0 gantry verify --as localhost/gpg/a:v1 oci:layout:v1
expect_exit 4 gantry verify --as localhost/gpg/a:v2 oci:layout:v1
accept_anything
expect_exit 0 gantry verify --dry-run --policy "$policy" "$registry/team/bundle:v1"
expect_text 'allowed' "$T/out"
expect_exit 0 gantry store check
