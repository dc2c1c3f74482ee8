# Several images in one pod share network, IPC and host name, each with its own root, options and limits; one that fails
# ends the pod.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
image=oci:$T/image:v1
run=(gantry-run -q --insecure-options=image)
# -e before the first image counts for all, after one for it alone.
expect_exit 0 "${run[@]}" -e ALL=1 --hostname pod --mount type=bind,source="$T/tmp",target=/shared \
  "$image" --name one -e A=1 -- sh -c 'echo one $ALL $A $(hostname) >/shared/one; readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts >/shared/ns1; touch /only-one' \
  --- "$image" --name two --cap-drop ALL -- sh -c 'echo two $ALL $A $(hostname) >/shared/two; readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts >/shared/ns2; sleep 0.2; ! ls /only-one; grep CapEff /proc/self/status >/shared/caps'
[ "$(cat "$T/tmp/one")" = "one 1 1 pod" ] || fail "$(cat "$T/tmp/one")"
[ "$(cat "$T/tmp/two")" = "two 1 pod" ] || fail "$(cat "$T/tmp/two")"
cmp "$T/tmp/ns1" "$T/tmp/ns2" || fail "namespaces are not shared"
grep -q 0000000000000000 "$T/tmp/caps" || fail "capabilities of one are those of the other"
uuid=$("${run[@]}" prepare -m 100m "$image" --name x --cpus 1 -- true --- "$image" --name y -m 50m -- true)
gantry run cat-manifest "$uuid" >"$T/pod"
[ "$(jq -r '.apps[].app.isolators[] | select(.name | startswith("resource/")) | .value.limit' "$T/pod" | xargs)" = \
  "104857600 1000m 52428800" ] || fail "limits before the first image and after one: $(cat "$T/pod")"
gantry run rm "$uuid" >/dev/null
expect_exit 5 "${run[@]}" "$image" -- sleep 1000 --- "$image" -- sh -c 'sleep 0.2; exit 5'
expect_exit 125 "${run[@]}" "$image" --name x -- true --- "$image" --name x -- true
expect_exit 125 "${run[@]}" "$image" --no-such -- true --- "$image"

# An empty volume is a single app's, too.
expect_exit 0 "${run[@]}" --mount type=empty,source=data,target=/data,mode=0700 "$image" sh -c 'touch /data/x; stat -c %a /data'
expect_text '^700$' "$T/out"
# An empty volume is one for all that name it, and a detached pod has a log for each.
uuid=$("${run[@]}" -d --mount type=empty,source=data,target=/data,mode=0700 "$image" --name first -- \
  sh -c 'echo one; echo from-first >/data/x; sleep 1000' --- "$image" --name second -- \
  sh -c 'until [ -s /data/x ]; do sleep 0.05; done; cat /data/x; exit 7')
expect_exit 0 gantry run status --wait --json "$uuid"
[ "$(jq -r '.state, .code, .apps[1].code' "$T/out" | xargs)" = "exited 7 7" ] || fail "$(cat "$T/out")"
[ "$(gantry run logs --app second "$uuid")" = from-first ] || fail "the volume is not shared"
[ "$(gantry run logs --app first "$uuid")" = one ] || fail "no log of the other"
# Who names the pod by an app means that app.
[ "$(gantry run logs first)" = one ] || fail "logs of the app that is named"
expect_exit 0 gantry run export --json -o "$T/root.tar" second
[ "$(jq -r .app "$T/out")" = second ] || fail "$(cat "$T/out")"
[ "$(gantry run logs --app second first)" = from-first ] || fail "--app counts more"
expect_exit 2 gantry run logs "$uuid"
gantry run rm "$uuid" >/dev/null
[ -z "$(find /sys/fs/cgroup -maxdepth 3 -name "gantry-$uuid" 2>/dev/null)" ] || fail "a control group is left"
for _ in $(seq 100); do [ -n "$(ls -A "$T/store/pods")" ] || break; sleep 0.05; done
[ -z "$(ls -A "$T/store/pods")" ] || fail "a pod is left"
