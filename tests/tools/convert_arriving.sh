#!/bin/bash
# What comes from a registry is converted while it comes, byte for byte to what the whole image in the store becomes;
# also when a part is there from an earlier fetch that is damaged, and when a mirror sends another layer.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need nginx jq python3
accept_anything
start_registry
origin=$registry
layers=()
for i in 1 2 3 4 5 6; do
  mkdir "$T/layer$i" && head -c 1500000 /dev/urandom >"$T/layer$i/file$i"
  layers+=("$T/layer$i")
done
seq 100000 >"$T/layer1/numbers"
make_image "$T/img" v1 '{"Cmd":["/x"]}' "${layers[@]}"
push "$T/img:v1" large:v1
base=$(gantry-inspect --raw "oci:$T/img:v1" | jq -r '.layers[0].digest[7:]')
gantry-fetch -q --root "$T/whole" "docker://$origin/large:v1" >/dev/null

# convert ROOT SOURCE KIND NAME: prints what it is then. A KIND has NAME for @, and words.
convert() {
  local words
  read -ra words <<<"${3//@/$4}"
  rm -rf "$T/${4:?}"*
  (cd "$T" && gantry-convert -q --root "$T/$1" --overwrite "$2" "${words[@]}") | cut -d' ' -f1
}
# as_from_the_store KIND PART: with such a part of the base there before.
as_from_the_store() {
  local want file
  want=$(convert whole "$image" "$1" want)
  rm -rf "$T/store"
  mkdir -m 0700 "$T/store" "$T/store/tmp"
  [ "$2" = none ] || head -c 700000 "$T/img/blobs/sha256/$base" >"$T/store/tmp/partial-sha256-$base"
  [ "$2" != damaged ] ||
    printf XYZW | dd of="$T/store/tmp/partial-sha256-$base" bs=1 seek=400000 conv=notrunc status=none
  [ "$(convert store "docker://$image" "$1" got)" = "$want" ] || fail "$1, $2 part: not as from the store"
  for file in "$T/want"*; do
    [ -e "$file" ] || continue
    diff -r "$file" "$T/got${file#"$T/want"}" || fail "$1, $2 part: $file is not the same"
  done
  expect_exit 0 gantry-store check
  [ "$(ls "$T/store/blobs/sha256")" = "$(ls "$T/whole/blobs/sha256")" ] || fail "$1, $2 part: the store has others"
}
# tampered BLOB: the same size, one byte inside the tar differs, and gzip finds nothing wrong.
tampered() {
  python3 - "$1" <<'END'
import sys, zlib
blob = open(sys.argv[1], 'rb').read()
plain = bytearray(zlib.decompress(blob, 31))
plain[len(plain) // 2] ^= 1
for level in range(10):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    packed = packer.compress(bytes(plain)) + packer.flush()
    room = len(blob) - len(packed)
    if room > 0:
        packed = packed[:3] + bytes([packed[3] | 8]) + packed[4:10] + b'a' * (room - 1) + b'\0' + packed[10:]
        break
assert len(packed) == len(blob)
open(sys.argv[1], 'wb').write(packed)
END
}

# A slow mirror, for the whole test.
start_registry
mirror=$(dirname "$registry_log")
push "$T/img:v1" large:v1
start_proxy http 'access_log off; proxy_max_temp_file_size 0;' '' 'limit_rate 4m;'
proxy=${started_pids[-1]} image=$origin/large:v1
cat >"$XDG_CONFIG_HOME/containers/registries.conf" <<END
[[registry]]
location = "$origin"
insecure = true
[[registry.mirror]]
location = "127.0.0.1:$port"
insecure = true
END
as_from_the_store aci:@.aci good
for kind in aci:@.aci 'oci:@:v1 --compress zstd' docker-archive:@.tar 'oci-archive:@.tar:v1 --compress none' \
  'docker-archive:@.tar --threads 2' 'aci:@.acis --layers' 'oci:@:v1 --squash' "docker://$origin/@:v1 --squash"; do
  as_from_the_store "$kind" damaged
done
for kind in oci-archive:@.tar oci:@:v1 store:example.com/@:v1; do as_from_the_store "$kind" none; done

tampered "$(find "$mirror" -path "*/blobs/sha256/${base:0:2}/$base/data")"
for kind in docker-archive:@.tar 'oci-archive:@.tar --compress none' 'oci:@:v1 --compress none' \
  'store:example.com/@:v1 --compress none'; do
  as_from_the_store "$kind" none
done
cp "$T/img/blobs/sha256/$base" "$(find "$mirror" -path "*/blobs/sha256/${base:0:2}/$base/data")"

# Bytes of the output, which has no name yet, are there before the layer is; and when the connection breaks under way,
# the next one goes on from there.
want=$(convert whole "$image" aci:@.aci want)
rm -rf "$T/store"
gantry-convert -q "docker://$image" "aci:$T/seen.aci" >"$T/out" 2>"$T/err" &
until find -L "/proc/$!/fd" -maxdepth 1 -type f -size +1000k -links 0 2>/dev/null | grep -q .; do
  kill -0 $! 2>/dev/null || fail "nothing was seen of the output: $(cat "$T/err")"
done
pkill -KILL -P "$proxy"
wait $! || fail "$(cat "$T/err")"
expect_text "^$want  " "$T/out"
