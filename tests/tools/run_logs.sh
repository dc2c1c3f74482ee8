# Logs are kept in files of bounded size and number, and --follow sees what was rotated meanwhile.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need busybox jq
[ "$(id -u)" = 0 ] || skip "root's way"

make_busybox_image "$T/image" v1
run=(gantry-run -q --insecure-options=image)
uuid=$("${run[@]}" -d --log-max-size 8k --log-max-files 3 --name app "oci:$T/image:v1" \
  sh -c 'for i in $(seq 1000); do echo "line $i"; done; printf "no end"')
gantry run status --wait "$uuid" >/dev/null
pod=$T/store/pods/$uuid
names=("$pod"/app.log*)
[ "${names[*]##*/}" = "app.log app.log.1 app.log.2" ] || fail "${names[*]}"
for file in "$pod"/app.log*; do [ "$(stat -c%s "$file")" -le 8192 ] || fail "$file is too large"; done
gantry run logs "$uuid" >"$T/log"
[ "$(tail -c 19 "$T/log" | tr '\n' ' ')" = "line 999 line 1000 no end" ] || [ "$(tail -c 6 "$T/log")" = "no end" ] || fail "$(tail -3 "$T/log")"
[ "$(gantry run logs --tail 2 "$uuid" | head -1)" = "line 1000" ] || fail "the tail"
grep -c '^line' "$T/log" >"$T/count"
[ "$(cat "$T/count")" -lt 1000 ] || fail "nothing was rotated away"

uuid=$("${run[@]}" -d --log-max-size 4k --log-max-files 2 "oci:$T/image:v1" \
  sh -c 'for i in $(seq 40); do echo "line $i ........................................"; sleep 0.02; done')
[ "$(gantry run logs --follow "$uuid" | grep -c '^line')" = 40 ] || fail "--follow lost lines"
# A line that is longer than the log's records is put together again.
uuid=$("${run[@]}" -d "oci:$T/image:v1" sh -c 'head -c 40000 /dev/zero | tr "\0" x; echo')
gantry run status --wait "$uuid" >/dev/null
[ "$(gantry run logs "$uuid" | head -1 | wc -c)" = 40001 ] || fail "a long line"
pod_of_many=$("${run[@]}" -d "oci:$T/image:v1" seq 50000)
gantry run status --wait "$pod_of_many" >/dev/null
# Who has read enough ends it, without a word.
status=0
{ gantry run logs "$pod_of_many" 2>"$T/err" || status=$?; echo "$status" >"$T/status"; } | head -n1 >/dev/null
[ "$(cat "$T/status")" = 141 ] || fail "exit $(cat "$T/status")"
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
