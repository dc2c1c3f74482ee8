# Isolators are in force as the app sees them; what an app does not get of them is told, and --strict refuses it.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

mkdir -p "$T/aci/rootfs/bin"
cp "$(command -v busybox)" "$T/aci/rootfs/bin/busybox"
for name in sh cat grep mkdir mount; do ln -s busybox "$T/aci/rootfs/bin/$name"; done
# aci SHELL_TEXT NAME VALUE...: $T/app.aci, which executes it, with isolators.
aci() {
  jq -n '$ARGS.positional as [$text] | {acKind:"ImageManifest",acVersion:"0.8.11",name:"example.com/app",app:{user:"0",group:"0",
    exec:["/bin/sh","-c",$text], isolators:[$ARGS.positional[1:] | _nwise(2) | {name:.[0],value:(.[1]|fromjson)}]}}' \
    --args "$@" >"$T/aci/manifest"
  tar -C "$T/aci" --owner=0 --group=0 -cf "$T/app.aci" manifest rootfs
}
run=(gantry-run --insecure-options=image)
# says TEXT: what it prints, and nothing is told to have been left out.
says() {
  expect_exit 0 "${run[@]}" --strict "aci:$T/app.aci"
  [ "$(xargs <"$T/out")" = "$1" ] || fail "$(cat "$T/aci/manifest" "$T/out" "$T/err")"
}
# tells TEXT: that it does not get this.
tells() {
  expect_exit 0 "${run[@]}" "aci:$T/app.aci"
  expect_text "does not get: .*$1" "$T/err"
  expect_exit 125 "${run[@]}" --strict "aci:$T/app.aci"
}

aci 'mkdir /x 2>/dev/null; echo $?; mount -t tmpfs x /x' os/linux/seccomp-remove-set '{"set":["mkdir","mkdirat"]}'
expect_exit 1 "${run[@]}" "aci:$T/app.aci"
[ "$(cat "$T/out")" = 159 ] || fail "not SIGSYS: $(cat "$T/out" "$T/err")"
expect_text 'ermission denied|not permitted' "$T/err"
aci 'mount -t tmpfs x /bin 2>&1 || mkdir /x && echo made' os/linux/seccomp-remove-set '{"set":["mount","reboot"],"errno":"EXFULL"}'
says "mount: mounting x on /bin failed: Exchange full made"
aci 'mkdir /x && echo made; mount -t tmpfs x /bin; echo $?' os/linux/seccomp-retain-set '{"set":["@docker/default-whitelist"]}'
says "made 159"
aci 'mkdir /x && echo made' os/linux/seccomp-remove-set '{"set":["mkdir","@appc.io/empty"]}'
says made
aci 'mkdir /x && echo made' os/linux/seccomp-retain-set '{"set":["@appc.io/all"]}'
tells seccomp=unconfined
aci 'echo runs' os/linux/seccomp-retain-set '{"set":["@docker/default-whitelist","mount"]}'
tells mount
aci true os/linux/seccomp-retain-set '{"set":["read"]}' os/linux/seccomp-remove-set '{"set":["read"]}'
expect_exit 125 "${run[@]}" "aci:$T/app.aci"
expect_text "there may be one" "$T/err"

aci 'grep -E "CapBnd|NoNewPrivs" /proc/self/status; cat /proc/self/oom_score_adj' os/linux/capabilities-retain-set \
  '{"set":["CAP_CHOWN"]}' os/linux/no-new-privileges true os/linux/oom-score-adj 77
says "CapBnd: 0000000000000001 NoNewPrivs: 1 77"
aci 'grep CapBnd /proc/self/status' os/linux/capabilities-remove-set '{"set":["CAP_CHOWN","CAP_SYS_ADMIN"]}'
says "CapBnd: 00000000800405fa"
aci true os/linux/apparmor-profile '{"profile":"no-such-profile"}'
expect_exit 125 "${run[@]}" "aci:$T/app.aci"
expect_text "AppArmor|apparmor" "$T/err"
for ignored in 'os/linux/no-new-privileges false' 'resource/block-iops {"default":true,"limit":"1000"}' 'example.com/mine 1'; do
  aci true "${ignored%% *}" "${ignored#* }"
  tells "${ignored%% *}"
done
