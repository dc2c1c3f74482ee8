#!/bin/bash
# What comes from a registry is converted while it comes, to what the whole image in the store is converted to; also when
# a part is there from an earlier fetch, and when that part is damaged.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need nginx jq
accept_anything
start_registry
mkdir "$T/base" "$T/top"
head -c 12000000 /dev/urandom >"$T/base/large"
head -c 1200000 /dev/urandom >"$T/top/data"
make_image "$T/img" v1 '{"Cmd":["/x"]}' "$T/base" "$T/top"
push "$T/img:v1" large:v1
base=$(gantry-inspect --raw "oci:$T/img:v1" | jq -r '.layers[0].digest[7:]')
# The registry at five megabytes a second.
start_proxy http 'access_log off; proxy_max_temp_file_size 0;' '' 'limit_rate 5m;'
image=127.0.0.1:$port/large:v1 proxy=${started_pids[-1]}
gantry-fetch -q --root "$T/whole" "docker://$image" >/dev/null

# convert ROOT SOURCE KIND NAME: prints what it is then. A KIND has NAME for @, and words.
convert() {
  local words
  read -ra words <<<"${3//@/$4}"
  rm -rf "$T/$4"*
  (cd "$T" && gantry-convert -q --root "$T/$1" --overwrite "$2" "${words[@]}") | cut -d' ' -f1
}
# as_from_the_store KIND PART...: with such a part of the base there before.
as_from_the_store() {
  local want part kind=$1
  want=$(convert whole "$image" "$kind" want)
  shift
  for part; do
    rm -rf "$T/store"
    mkdir -m 0700 "$T/store" "$T/store/tmp"
    case $part in
      none) ;;
      good) head -c 4000000 "$T/img/blobs/sha256/$base" >"$T/store/tmp/partial-sha256-$base" ;;
      damaged) head -c 4000000 /dev/zero >"$T/store/tmp/partial-sha256-$base" ;;
    esac
    [ "$(convert store "docker://$image" "$kind" got)" = "$want" ] || fail "$kind, $part part: not as from the store"
    expect_exit 0 gantry-store check
  done
}
for kind in aci:@.aci 'oci:@:v1 --compress zstd' docker-archive:@.tar; do as_from_the_store "$kind" none good damaged; done
for kind in 'aci:@.acis --layers' 'oci:@:v1' 'oci:@:v1 --squash' "docker://$registry/@:v1 --squash"; do
  as_from_the_store "$kind" damaged
done
for kind in oci-archive:@.tar store:example.com/@:v1 'store:example.com/@:v2 --squash'; do as_from_the_store "$kind" none; done

# Bytes of the output, which has no name yet, are there before the layer is; and when the connection breaks under way,
# the next one goes on from there.
want=$(convert whole "$image" aci:@.aci want)
rm -rf "$T/store"
gantry-convert -q "docker://$image" "aci:$T/seen.aci" >"$T/out" 2>"$T/err" &
until find -L "/proc/$!/fd" -maxdepth 1 -type f -size +2000k -links 0 2>/dev/null | grep -q .; do
  kill -0 $! 2>/dev/null || fail "nothing was seen of the output: $(cat "$T/err")"
done
[ -e "$T/store/tmp/partial-sha256-$base" ] || fail "nothing was written before the layer was whole"
pkill -KILL -P "$proxy"
wait $! || fail "$(cat "$T/err")"
expect_text "^$want  " "$T/out"
