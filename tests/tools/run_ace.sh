# appc's own validator of executors, as two apps of a pod, is content: environment, working directory, event handlers,
# a volume that both have, and every path of the metadata service, whose JSON appc's own types read.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/actool.sh"
need jq
[ "$(id -u)" = 0 ] || unshare -U true 2>/dev/null || skip "no user namespaces here"
need_ace

# As scripts/build-ace-validator-acis of appc/spec makes them.
aci() { # NAME APP_JSON
  mkdir -p "$T/$1/rootfs/opt/acvalidator"
  # shellcheck disable=SC2154 # set by need_ace
  cp "$ace" "$T/$1/rootfs/ace-validator"
  printf '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"coreos.com/ace-validator-%s","labels":[
    {"name":"version","value":"0.8.11"},{"name":"os","value":"linux"},{"name":"arch","value":"%s"}],"app":%s,
    "annotations":[{"name":"created","value":"2014-10-27T19:32:27Z"},{"name":"lorem","value":"ipsum"}]}' \
    "$1" "$(image_architecture | sed s/arm64/aarch64/)" "$2" >"$T/$1/manifest"
  tar -C "$T/$1" --owner=0 --group=0 -cf "$T/$1.aci" manifest rootfs
}
places='"mountPoints":[{"name":"database","path":"/db","readOnly":false}]'
aci main '{"exec":["/ace-validator","main"],"user":"0","group":"0","workingDirectory":"/opt/acvalidator",
  "eventHandlers":[{"name":"pre-start","exec":["/ace-validator","prestart"]},
                   {"name":"post-stop","exec":["/ace-validator","poststop"]}],
  "environment":[{"name":"IN_ACE_VALIDATOR","value":"correct"}],'"$places"',
  "ports":[{"name":"www","protocol":"tcp","port":80}],"isolators":[{"name":"resource/memory","value":{"limit":"1G"}}]}'
aci sidekick '{"exec":["/ace-validator","sidekick"],"user":"0","group":"0",'"$places"'}'
# is_content COMMAND...: exits 0. Its own limit for an answer is 100 ms, which a loaded machine does not always keep.
is_content() {
  local code
  for _ in 1 2 3 4 5; do
    code=0
    "$@" >"$T/out" 2>"$T/err" || code=$?
    [ "$code" != 0 ] || break
    grep -q 'Client.Timeout exceeded' "$T/err" || break
  done
  [ "$code" = 0 ] || fail "exit $code: $(cat "$T/out" "$T/err")"
  expect_text '^main OK$' "$T/out"
}
run=(gantry-run --insecure-options=image --mds -v "database,kind=empty")
[ "$(id -u)" = 0 ] && run+=(--strict)
is_content "${run[@]}" "aci:$T/main.aci" --name ace-validator-main --- "aci:$T/sidekick.aci"
[ "$(sort "$T/out" | xargs)" = "main OK poststop OK prestart OK sidekick OK" ] || fail "$(cat "$T/out" "$T/err")"

# The IDs are those of the files, also in the manifest of a pod that was prepared; and a pod manifest pins them.
id=sha512-$(sha512sum <"$T/main.aci" | cut -d' ' -f1)
prepare() {
  pod=$(gantry-run -q --insecure-options=image prepare --mds -v database,kind=empty "aci:$T/main.aci" \
    --name ace-validator-main --- "aci:$T/sidekick.aci")
}
run_prepared() { prepare && gantry-run --insecure-options=image run-prepared "$pod"; }
prepare
gantry run cat-manifest "$pod" >"$T/pod"
[ "$(jq -r '.apps[0].image.id' "$T/pod")" = "$id" ] || fail "$(jq .apps[0].image "$T/pod")"
is_content run_prepared
jq '.annotations=[{"name":"ip-address","value":"10.1.2.3"}] | .apps[0].annotations+=[{"name":"lorem","value":"other"}]' \
  "$T/pod" >"$T/annotated"
is_content gantry-run --insecure-options=image --mds --pod-manifest "$T/annotated"
jq '.apps[0].image.id |= .[0:71]' "$T/pod" >"$T/half" # as rkt writes them
is_content gantry-run --insecure-options=image --mds --pod-manifest "$T/half"
jq '.apps[1].image.id = .apps[0].image.id' "$T/pod" >"$T/other"
expect_exit 125 gantry-run --insecure-options=image --mds --pod-manifest "$T/other"
expect_text 'the pod manifest wants' "$T/err"
