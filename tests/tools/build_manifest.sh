# What a build says about its image: each verb that adds is undone by the one that removes, and a manifest that is replaced
# says all that it says, in the form of ACIs and in that of OCI.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
mkdir "$T/work" && cd "$T/work"
gantry build begin
gantry build set-name example.com/said
gantry build set-exec -- /bin/said
gantry build cat-manifest >before
echo '{"limit":"1G"}' >limit
gantry build set-user 1000 && gantry build set-group 2000
gantry build cat-manifest | jq -e '.app.user == "1000" and .app.group == "2000"' >/dev/null || fail "$(gantry build cat-manifest)"
gantry build set-user 0 && gantry build set-group 0
gantry build label add channel beta && gantry build label rm channel
gantry build annotation add authors someone && gantry build annotation rm authors
gantry build environment add A b && gantry build env rm A
gantry build port add web tcp 80 --count 2 --socket-activated && gantry build port remove web
gantry build mount add data /data && gantry build mount rm data
gantry build isolator add resource/memory limit && gantry build isolator rm resource/memory
gantry build dep add example.com/below --image-id "sha512-$(printf 'a%.0s' {1..128})" --label version=1 --size 10 && gantry build dep rm example.com/below
plain() { jq -S 'del(.annotations)' "$1"; }
gantry build cat-manifest >after
diff <(plain before) <(plain after) || fail "something is left"
for verb in label annotation environment port mount isolator dependency; do
  expect_exit 3 gantry build "$verb" rm nothing
done

gantry build isolator add resource/memory limit
gantry build port add web tcp 80
gantry build cat-manifest | jq '.name = "example.com/other" | .app.exec = ["/bin/other"] | .app.workingDirectory = "/srv"' >new
gantry build replace-manifest new
gantry build cat-manifest >after
jq -e '.name == "example.com/other" and .app.exec == ["/bin/other"] and .app.workingDirectory == "/srv" and
  .app.isolators[0].name == "resource/memory" and .app.ports[0].name == "web"' after >/dev/null || fail "$(cat after)"
gantry build cat-manifest --format oci | jq '.config.Env = ["C=d"] | .config.StopSignal = "SIGINT"' >new
gantry build replace-manifest --format oci new
gantry build cat-manifest --format oci | jq -e '.config.Env == ["C=d"] and .config.StopSignal == "SIGINT"' >/dev/null || fail "$(gantry build cat-manifest --format oci)"
jq '.acKind = "PodManifest"' after >bad
before=$(sha256sum <.gantry-build/draft.json)
expect_exit 5 gantry build replace-manifest bad
[ "$before" = "$(sha256sum <.gantry-build/draft.json)" ] || fail "the draft changed"
gantry build write --format aci made.aci >/dev/null
tar -xOzf made.aci manifest | jq -e '.name == "example.com/other"' >/dev/null || fail "$(tar -xOzf made.aci manifest)"
