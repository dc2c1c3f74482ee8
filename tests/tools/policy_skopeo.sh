# A policy.json that skopeo takes gantry takes, and one that skopeo refuses gantry refuses: requirement types, kinds of
# scopes, rules of names and everything that is malformed.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo jq gpg

make_gpg_key tester
key=$T/tester.pub.gpg
data=$(base64 -w0 "$key")
mkdir "$T/root" && echo hello >"$T/root/hello"
make_image "$T/layout" v1 '{"Cmd":["/hello"]}' "$T/root"
signed='"type":"signedBy","keyType":"GPGKeys"'
one="$signed,\"keyPath\":\"$key\""
agreed=0
# same TEXT...: both take it, or both refuse it.
same() {
  local text ours theirs
  for text; do
    printf '%s' "$text" >"$T/p.json"
    rm -rf "$T/copy"
    theirs=taken ours=taken
    # What is refused by a policy that it could read, it says in other words.
    skopeo --policy "$T/p.json" copy -q "oci:$T/layout:v1" "dir:$T/copy" >/dev/null 2>"$T/skopeo.err" || true
    grep -Eqi 'loading trust policy|invalid policy' "$T/skopeo.err" && theirs=refused
    gantry trust list --policy "$T/p.json" >/dev/null 2>"$T/err" || ours=refused
    [ "$ours" = "$theirs" ] || fail "skopeo: $theirs, gantry: $ours: $text"$'\n'"$(cat "$T/skopeo.err" "$T/err")"
    agreed=$((agreed + 1))
  done
}
policy() { printf '{"default":[{"type":"reject"}],"transports":{"docker":{"a.example/b":[%s]}}}' "$1"; }
scope() { printf '{"default":[{"type":"reject"}],"transports":{"%s":{"%s":[{"type":"reject"}]}}}' "$1" "$2"; }

for requirement in '{"type":"insecureAcceptAnything"}' '{"type":"reject"}' '{"type":"reject","x":1}' '{"type":"Reject"}' '{}' '[]' 1 \
  "{$one}" "{$signed,\"keyData\":\"$data\"}" "{$one,\"keyData\":\"$data\"}" "{$signed}" "{$one,\"keyPath\":\"/x\"}" \
  "{\"type\":\"signedBy\",\"keyPath\":\"$key\"}" "{\"type\":\"signedBy\",\"keyType\":\"X\",\"keyPath\":\"$key\"}" \
  "{\"type\":\"signedBy\",\"keyType\":\"signedByX509CAs\",\"keyPath\":\"$key\"}" \
  "{\"type\":\"signedBy\",\"keyType\":\"X509Certificates\",\"keyPath\":\"$key\"}" \
  "{\"type\":\"signedBy\",\"keyType\":\"signedByGPGKeys\",\"keyPath\":\"$key\"}" \
  '{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchRepository"}}' '{"type":"signedBaseLayer"}' \
  "{\"type\":\"sigstoreSigned\",\"keyPath\":\"$key\"}" '{"type":"sigstoreSigned"}' \
  "{\"type\":\"sigstoreSigned\",\"keyPath\":\"$key\",\"keyData\":\"$data\"}" "{$one},{\"type\":\"reject\"}" ''; do
  same "$(policy "$requirement")"
done
for identity in '{"type":"matchExact"}' '{"type":"matchRepoDigestOrExact"}' '{"type":"matchRepository"}' '{"type":"matchExact","x":1}' \
  '{"type":"exactReference","dockerReference":"a.example/b:c"}' '{"type":"exactReference","dockerReference":"a.example/b"}' \
  '{"type":"exactReference"}' '{"type":"exactReference","dockerReference":"UPPER"}' \
  '{"type":"exactRepository","dockerRepository":"a.example/b"}' '{"type":"exactRepository","dockerReference":"a.example/b"}' \
  '{"type":"remapIdentity","prefix":"a.example","signedPrefix":"b.example"}' \
  '{"type":"remapIdentity","prefix":"a.example/b","signedPrefix":"b.example/c/d"}' '{"type":"remapIdentity","prefix":"a.example"}' \
  '{"type":"remapIdentity","prefix":"","signedPrefix":"b.example"}' '{"type":"remapIdentity","prefix":"a.example/b:c","signedPrefix":"b"}' \
  '{"type":"x"}' '{}' 'null' '1'; do
  same "$(policy "{$one,\"signedIdentity\":$identity}")"
done
for path in /srv/images /srv srv /srv/ / /srv//x /srv/../x ''; do
  for transport in oci oci-archive dir docker-archive; do same "$(scope $transport "$path")"; done
done
for name in a.example a.example:5000/b/c a.example/b:tag '*.example.com' '' ; do same "$(scope docker "$name")"; done
same '' '{}' '[]' '{"default":[]}' '{"default":[{"type":"reject"}]}' '{"default":[{"type":"reject"}],"x":1}' \
  '{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}' '{"transports":{}}' '{"default":[{"type":"reject"}],"transports":1}' \
  '{"default":[{"type":"reject"}],"transports":{"docker":{"a":[{"type":"reject"}],"a":[{"type":"reject"}]}}}' \
  '{"default":[{"type":"reject"}],"transports":{"unknown":{"a":[{"type":"reject"}]}}}' '{"default":[{"type":"reject"}]} x'
[ "$agreed" -ge 80 ] || fail "only $agreed policies"
