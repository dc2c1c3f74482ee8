# Options that confine or loosen do what they say inside, and what cannot be enforced is refused.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run() { gantry run -q --insecure-options=image "$@" 2>"$T/err"; }
image=oci:$T/image:v1
check() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2': $(cat "$T/err")"; }

check cap-drop "$(run --cap-drop ALL --cap-add net_admin "$image" grep CapEff /proc/self/status)" "CapEff:	0000000000001000"
check new-privileges "$(run --security-opt no-new-privileges=false "$image" grep NoNewPrivs /proc/self/status)" "NoNewPrivs:	0"
check init "$(run --security-opt no-new-privileges=false "$image" grep CapEff /proc/1/status)" "CapEff:	00000000800405fb"
check unconfined "$(run --security-opt seccomp=unconfined "$image" grep ^Seccomp: /proc/self/status)" "Seccomp:	0"
printf '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38,"includes":{"caps":["CAP_CHOWN"]}}]}' >"$T/seccomp"
run --security-opt "seccomp=$T/seccomp" "$image" mkdir /x && fail "the profile does nothing"
grep -q 'not implemented' "$T/err" || fail "$(cat "$T/err")"
run --security-opt "seccomp=$T/seccomp" --cap-drop CHOWN "$image" mkdir /x || fail "a rule for a capability that is not there"
# Told before anything is fetched: there is nobody there.
echo '{"defaultAction":"SCMP_ACT_NONE"}' >"$T/bad"
expect_exit 125 gantry run --insecure-options=image,http --security-opt "seccomp=$T/bad" docker://127.0.0.1:1/nothing true
expect_text "unknown action 'SCMP_ACT_NONE'" "$T/err"
check ulimit "$(run --ulimit nofile=64:128 "$image" sh -c 'ulimit -n; ulimit -Hn' | xargs)" "64 128"
check tmpfs "$(run --read-only --tmpfs /run:size=1m,mode=0750 "$image" sh -c 'touch /x; touch /run/x && stat -c %a /run; df -m /run | tail -1' | awk '{print $1, $2}' | xargs)" "750 tmpfs 1"
echo hush >"$T/secret"
check secret "$(run --secret key="$T/secret" "$image" sh -c 'cat /run/secrets/key; stat -c %a /run/secrets/key; echo x >/run/secrets/key' | xargs)" "hush 400"
grep -q hush -r "$T/store/pods" && fail "the secret is on disk"
check device "$(run --device /dev/full:/dev/mine:r "$image" sh -c 'head -c1 /dev/mine | wc -c; stat -c %t:%T /dev/mine' | xargs)" "1 1:7"
printf 'A=1\n# no\nB=two words\n' >"$T/env"
check env-file "$(run --env-file "$T/env" -e A=2 "$image" sh -c 'echo $A $B')" "2 two words"
check group-add "$(run --group-add 77 -u 5:6 "$image" id -G)" "6 77"
check oom "$(run --oom-score-adj 500 "$image" cat /proc/self/oom_score_adj)" 500
check mount "$(run --mount "type=bind,source=$T,target=/t,readonly" "$image" sh -c 'touch /t/x || echo no')" no

# Refused, not dropped.
refused() {
  local want=$1
  shift
  expect_exit 125 gantry run -q --insecure-options=image "$@" "$image" true
  expect_text "$want" "$T/err"
}
refused 'not known' --security-opt bogus=1
refused 'there is no capability' --cap-add NO_SUCH
refused 'is no device' --device "$T/env"
refused 'expected' --cpus 0
refused 'two volumes' --tmpfs /x -v "$T:/x"
[ -e /sys/kernel/security/apparmor/profiles ] || refused 'AppArmor is not active' --security-opt apparmor=x

# A runner that lacks capabilities gives ALL that it has, and says what it cannot give.
if command -v setpriv >/dev/null; then
  lacking=(setpriv --bounding-set=-sys_time "$GANTRY_BIN/gantry-run" -q --insecure-options=image)
  expect_exit 125 "${lacking[@]}" --cap-add Sys_Time "$image" true
  expect_text 'do not have CAP_SYS_TIME ourselves' "$T/err"
  expect_exit 0 "${lacking[@]}" --cap-add ALL --cap-drop chown "$image" sh -c 'echo $((0x$(sed -n "s/CapEff:.//p" /proc/self/status) & 0x2000001))'
  [ "$(cat "$T/out")" = 0 ] || fail "capabilities: $(cat "$T/out")"
  uuid=$("${lacking[@]}" -d --cap-add ALL "$image" sleep 1000)
  expect_exit 0 setpriv --bounding-set=-sys_time "$GANTRY_BIN/gantry-run" enter "$uuid" true
  gantry run rm -f "$uuid" >/dev/null
fi
refused "cannot set the limit RLIMIT_NOFILE" --ulimit nofile=99999999999
