#!/bin/bash
# However many threads there are, a conversion stays within the memory that its man page promises.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need python3 jq zstd

mkdir -p "$T/a" "$T/b"
for layer in a b; do head -c 50000000 /dev/urandom | base64 -w 100 >"$T/$layer/$layer"; done
make_image "$T/gzip" v1 '{"Cmd":["/x"]}' "$T/a" "$T/b"
accept_anything
gantry-convert -q --compress zstd "oci:$T/gzip:v1" "oci:$T/zstd:v1" >/dev/null

# peak COMMAND...: of its memory, in KiB.
peak() {
  python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
}

within() {
  local kib
  kib=$(peak gantry-convert -q --threads 32 "$@")
  [ "$kib" -lt $((64 * 1024)) ] || fail "$* took $kib KiB"
  rm -rf "$T/out" "$T/out.tar" "$T/out.aci"
}
for from in gzip zstd; do
  within "oci:$T/$from:v1" "aci:$T/out.aci"
  within "oci:$T/$from:v1" "docker-archive:$T/out.tar:a/b:c"
  within --squash "oci:$T/$from:v1" "oci:$T/out:v1"
  within --squash --compress zstd "oci:$T/$from:v1" "oci:$T/out:v1"
done
within --compress gzip "oci:$T/zstd:v1" "oci:$T/out:v1"
within --compress none "oci:$T/zstd:v1" "oci:$T/out:v1"
within --compress zstd "oci:$T/gzip:v1" "oci:$T/out:v1"
within --compress zstd:6 "oci:$T/gzip:v1" "oci-archive:$T/out.tar:v1"

# Many layers at once, and windows as large as they may be.
layers=()
for i in 1 2 3 4 5 6 7 8; do
  mkdir "$T/layer$i" && head -c 12000000 /dev/urandom >"$T/layer$i/file$i"
  cat "$T/layer$i/file$i" >"$T/layer$i/again$i"
  layers+=("$T/layer$i")
done
make_image "$T/wide" v1 '{"Cmd":["/x"]}' "${layers[@]}"
rm -rf "${layers[@]}"
python3 - "$T/wide" <<'END'
import gzip, hashlib, json, subprocess, sys
def path(digest): return sys.argv[1] + '/blobs/' + digest.replace(':', '/')
def put(blob):
    digest = 'sha256:' + hashlib.sha256(blob).hexdigest()
    open(path(digest), 'wb').write(blob)
    return {'digest': digest, 'size': len(blob)}
index = json.load(open(sys.argv[1] + '/index.json'))
manifest = json.load(open(path(index['manifests'][0]['digest'])))
for layer in manifest['layers']:
    plain = gzip.decompress(open(path(layer['digest']), 'rb').read())
    wide = ['zstd', '-3', '--zstd=wlog=23']
    layer.update(put(subprocess.run(wide, input=plain, stdout=subprocess.PIPE, check=True).stdout))
    layer['mediaType'] = 'application/vnd.oci.image.layer.v1.tar+zstd'
index['manifests'][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open(sys.argv[1] + '/index.json', 'w'))
END
within --compress none "oci:$T/wide:v1" "oci:$T/out:v1"
