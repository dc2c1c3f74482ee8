# shellcheck shell=bash
# What every shell test begins with: a directory that goes away, isolated from the host's configuration, and the few
# helpers that end-to-end tests share. Source it after `set -euo pipefail`.
#
#   $T          the test's directory, removed at the end
#   $registry   HOST:PORT of the registry that start_registry started
#   $policy     the policy file that gantry reads first: refuses everything until the test writes another
#   $GANTRY_BIN where the binaries under test are; first in PATH
#
# HOME, the XDG directories, GNUPGHOME, GANTRY_ROOT and the lookaside of signatures ($T/sigstore) lie below $T. skopeo's
# policy refuses everything, too.

T=$(mktemp -d "${TMPDIR:-/tmp}/gantry-test-XXXXXX")
chmod 0755 "$T"
started_pids=()
exit_commands=()

# at_exit COMMAND: run at the end of the test, before what earlier calls gave. Not by a trap of the test's own: whatever
# comes before cleanup there takes the place of the status that the test ended with.
at_exit() { exit_commands=("$1" ${exit_commands[@]+"${exit_commands[@]}"}); }

cleanup() {
  local status=$? pid command
  set +e
  for command in ${exit_commands[@]+"${exit_commands[@]}"}; do
    eval "$command"
  done
  for pid in ${started_pids[@]+"${started_pids[@]}"}; do
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  # Detached pods of a test that failed.
  if [ -n "$(ls -A "$T/store/pods" 2>/dev/null)" ] && [ -x "$GANTRY_BIN/gantry-run" ]; then
    gantry-run list -q 2>/dev/null | xargs -r gantry-run rm --force >/dev/null 2>&1
  fi
  command -v gpgconf >/dev/null && gpgconf --homedir "$GNUPGHOME" --kill all 2>/dev/null
  chmod -R u+rwX "$T" 2>/dev/null
  rm -rf --one-file-system "$T"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

GANTRY_SOURCE_DIR=${GANTRY_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
GANTRY_BIN=${GANTRY_BIN:-$GANTRY_SOURCE_DIR/build/dev/bin}
export GANTRY_BIN GANTRY_SOURCE_DIR PATH="$GANTRY_BIN:$PATH"
export HOME=$T/home GANTRY_ROOT=$T/store GNUPGHOME=$T/gnupg TMPDIR=$T/tmp LC_ALL=C.UTF-8
export XDG_CONFIG_HOME=$HOME/.config XDG_DATA_HOME=$HOME/.local/share XDG_CACHE_HOME=$HOME/.cache
export XDG_RUNTIME_DIR=$T/run
unset GANTRY_POLICY DOCKER_CONFIG REGISTRY_AUTH_FILE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
mkdir -p "$XDG_CONFIG_HOME/gantry" "$XDG_CONFIG_HOME/containers/registries.d" "$XDG_DATA_HOME" "$XDG_CACHE_HOME" "$TMPDIR"
mkdir -m 0700 "$XDG_RUNTIME_DIR" "$GNUPGHOME"
printf 'trust-model always\nno-auto-check-trustdb\n' >"$GNUPGHOME/gpg.conf"
policy=$XDG_CONFIG_HOME/gantry/policy.json
printf '{"default":[{"type":"reject"}]}\n' | tee "$policy" >"$XDG_CONFIG_HOME/containers/policy.json"
: >"$XDG_CONFIG_HOME/containers/registries.conf"
printf 'default-docker: {lookaside: "file://%s/sigstore"}\n' "$T" >"$XDG_CONFIG_HOME/containers/registries.d/x.yaml"

# accept_anything: the policy of this test.
accept_anything() { printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"; }

# fail MESSAGE...: ends the test.
fail() {
  printf 'FAIL: %s\n' "$*" >&2
  exit 1
}

# skip REASON...: ends the test as skipped (ctest prints it so).
skip() {
  printf 'SKIP: %s\n' "$*"
  exit 77
}

# need PROGRAM...: skips when one is not installed.
need() {
  local program
  for program; do
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
}

# in_namespaces_of_its_own FLAGS...: the rest of the script runs in new ones, by the flags of unshare(1).
in_namespaces_of_its_own() {
  local status=0
  [ "${GANTRY_TEST_INSIDE-}" != 1 ] || return 0
  need unshare
  unshare "$@" true 2>/dev/null || skip "no namespaces to be made here: unshare $*"
  GANTRY_TEST_INSIDE=1 unshare "$@" bash "$0" || status=$?
  exit "$status"
}

# make_outside: in a network namespace of its own this machine gets the address 10.77.0.1 and a neighbour, 10.77.0.2, by
# whom it has its default route: for `outside COMMAND...`. /run is empty.
make_outside() {
  need ip nsenter
  mount -t tmpfs tmpfs /run
  ip link set lo up
  unshare -n sleep 1000 &
  neighbour=$!
  started_pids+=("$neighbour")
  until [ "$(readlink "/proc/$neighbour/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
  ip link add out0 type veth peer name eth0 netns "$neighbour"
  ip addr add 10.77.0.1/24 dev out0
  ip link set out0 up
  outside ip link set lo up
  outside ip addr add 10.77.0.2/24 dev eth0
  outside ip link set eth0 up
  ip route add default via 10.77.0.2
}
outside() { nsenter -t "$neighbour" -n "$@"; }
# serve_outside PORT COMMAND...: a server there, which listens by now, until the test ends. Not `outside COMMAND &`: its pid
# is that of a shell, and who is left holds the output of the test open, for whose end ctest waits.
serve_outside() {
  nsenter -t "$neighbour" -n "${@:2}" &
  started_pids+=($!)
  await outside bash -c ": </dev/tcp/127.0.0.1/$1" 2>/dev/null || fail "nobody listens at port $1"
}

# serve NAME PROTOCOL PORT: the Perl text of a server that answers everyone with NAME and the address it is asked from.
serve() {
  case $2 in
    tcp) printf 'use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => %d, Listen => 9, ReuseAddr => 1) or die $!;
      while ($c = $s->accept) { print $c "%s ", $c->peerhost, "\n"; close $c }' "$3" "$1" ;;
    udp) printf 'use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => %d, Proto => "udp") or die $!;
      while ($s->recv($b, 99)) { $s->send("%s " . $s->peerhost . "\n") }' "$3" "$1" ;;
  esac
}

# ask PROTOCOL ADDRESS PORT, outside_asks ...: prints what such a server says; it gives up after five seconds.
ask() {
  local text='use IO::Socket::INET; $SIG{ALRM} = sub { exit 9 }; alarm 5;
    $s = IO::Socket::INET->new(PeerAddr => $ARGV[1], PeerPort => $ARGV[2], Proto => $ARGV[0]) or exit 8;
    $s->send("x") if $ARGV[0] eq "udp"; $s->recv($b, 99); print $b; exit($b eq "")'
  perl -e "$text" "$@"
}
outside_asks() { outside bash -c "$(declare -f ask)"'; ask "$@"' ask "$@"; }

# expect_exit CODE COMMAND...: runs it with its output in $T/out and $T/err, and fails on another exit code.
expect_exit() {
  local want=$1 got=0
  shift
  "$@" >"$T/out" 2>"$T/err" || got=$?
  if [ "$got" != "$want" ]; then
    sed 's/^/  stdout: /' "$T/out" >&2
    sed 's/^/  stderr: /' "$T/err" >&2
    fail "exit $got instead of $want: $*"
  fi
}

# expect_text PATTERN FILE: FILE has a line that matches the extended regular expression.
expect_text() {
  grep -Eq -- "$1" "$2" && return
  sed 's/^/  /' "$2" >&2
  fail "no line of $2 matches '$1'"
}

# await COMMAND...: until it succeeds, for ten seconds at most.
await() {
  local _
  for _ in $(seq 200); do
    ! "$@" || return 0
    sleep 0.05
  done
  return 1
}

# expect_soon PATTERN FILE: such a line of a log comes; servers write it when they have answered.
expect_soon() {
  await grep -Eqs -- "$1" "$2" || expect_text "$1" "$2"
}

# forget LOG: what is in a server's log by now, and what it still had to say of earlier requests.
forget() {
  local size=
  until [ "$size" = "$(stat -c %s "$1")" ]; do
    size=$(stat -c %s "$1")
    sleep 0.1
  done
  : >"$1"
}

# spoil FILE OFFSET: the byte there is another one afterwards.
spoil() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  # shellcheck disable=SC2059 # the format is the byte
  printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# start_registry [NAME=VALUE...]: Debian's docker-registry on a free loopback port with storage of its own. Sets
# $registry and $registry_log. Settings of its configuration are given as it takes them: REGISTRY_AUTH_HTPASSWD_PATH=...
start_registry() {
  local dir tries=0
  need docker-registry setpriv
  dir=$(mktemp -d "$T/registry-XXXXXX")
  registry_log=$dir/log
  : >"$registry_log"
  cat >"$dir/config.yml" <<END
version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: $dir/data}
  delete: {enabled: true}
http: {addr: 127.0.0.1:0}
END
  env "$@" setpriv --pdeathsig KILL docker-registry serve "$dir/config.yml" >"$registry_log" 2>&1 &
  started_pids+=($!)
  until registry=$(grep -om1 'listening on 127.0.0.1:[0-9]*' "$registry_log"); do
    if ! kill -0 "${started_pids[-1]}" 2>/dev/null || [ $((tries += 1)) -gt 300 ]; then
      fail "docker-registry did not start: $(cat "$registry_log")"
    fi
    sleep 0.05
  done
  registry=${registry#listening on }
}

# start_proxy SCHEME HTTP SERVER LOCATION: nginx before $registry, at 127.0.0.1:$port for as long as the test runs. HTTP,
# SERVER and LOCATION are what those blocks of its configuration have of the test's own.
start_proxy() {
  local tls=
  need nginx
  [ "$1" = http ] || tls=' ssl http2'
  for _ in $(seq 20); do
    port=$((20000 + RANDOM % 10000))
    cat >"$T/nginx.conf" <<END
pid $T/nginx.pid; error_log $T/nginx.err; daemon off; user root;
events { }
http {
  client_body_temp_path $T/body; proxy_temp_path $T/proxied; $2
  server { listen 127.0.0.1:$port$tls; $3 location / { proxy_pass http://$registry; $4 } }
}
END
    nginx -p "$T" -c "$T/nginx.conf" 2>"$T/nginx.out" &
    started_pids+=($!)
    # Where another server has the port, this one tries for seconds to get it, and the other answers.
    until { [ -s "$T/nginx.pid" ] && curl -fsk -o /dev/null "$1://127.0.0.1:$port/v2/"; } || ! kill -0 $! 2>/dev/null; do sleep 0.05; done
    ! kill -0 $! 2>/dev/null || return 0
  done
  fail "nginx did not start: $(cat "$T/nginx.out" "$T/nginx.err")"
}

# push LAYOUT[:REF] PATH:TAG: copies an image of an OCI layout to $registry with skopeo. More skopeo options may follow.
push() {
  local from=$1 to=$2
  shift 2
  skopeo --insecure-policy copy -q --dest-tls-verify=false "$@" "oci:$from" "docker://$registry/$to" ||
    fail "push oci:$from to $to"
}

# put_blob LAYOUT FILE: moves FILE into the layout and prints its digest.
put_blob() {
  local hex
  hex=$(sha256sum <"$2" | cut -d' ' -f1)
  mkdir -p "$1/blobs/sha256"
  mv "$2" "$1/blobs/sha256/$hex"
  printf 'sha256:%s' "$hex"
}

# make_image LAYOUT REF CONFIG_JSON LAYER_DIR...: writes a single-platform OCI layout whose layers are the trees of the
# directories, owned by root. CONFIG_JSON is the "config" member of the image configuration.
make_image() {
  local layout=$1 ref=$2 config=$3 work dir diff_ids=() layers=() digest
  shift 3
  work=$(mktemp -d "$T/image-XXXXXX")
  mkdir -p "$layout"
  for dir; do
    tar -C "$dir" --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner --xattrs \
      --format=pax --pax-option=delete=atime,delete=ctime -cf "$work/layer" .
    diff_ids+=("\"sha256:$(sha256sum <"$work/layer" | cut -d' ' -f1)\"")
    gzip -n "$work/layer"
    layers+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"size\":$(stat -c%s "$work/layer.gz"),")
    layers[-1]+="\"digest\":\"$(put_blob "$layout" "$work/layer.gz")\"}"
  done
  printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(image_architecture)" "$config" "$(IFS=,; echo "${diff_ids[*]}")" >"$work/config"
  local size
  size=$(stat -c%s "$work/config")
  digest=$(put_blob "$layout" "$work/config")
  printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":%s},"layers":[%s]}' \
    application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json "$digest" "$size" \
    "$(IFS=,; echo "${layers[*]}")" >"$work/manifest"
  size=$(stat -c%s "$work/manifest")
  digest=$(put_blob "$layout" "$work/manifest")
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%s,"annotations":{"%s":"%s"}}]}' \
    application/vnd.oci.image.manifest.v1+json "$digest" "$size" org.opencontainers.image.ref.name "$ref" \
    >"$layout/index.json"
  rm -r "$work"
}

# make_artifact LAYOUT REF TYPE FILE...: writes an OCI layout with an artifact of TYPE, whose layers are the files, titled
# as they are written here; TITLE=FILE titles one otherwise. A TYPE that ends in config.v1+json is that of a configuration
# of {}, as Helm has it; another is an artifactType. Prints the digest of the manifest.
make_artifact() {
  local layout=$1 ref=$2 type=$3 work file layers=() config=application/vnd.oci.empty.v1+json digest
  shift 3
  work=$(mktemp -d "$T/artifact-XXXXXX")
  mkdir -p "$layout"
  for file; do
    cp "${file#*=}" "$work/blob"
    layers+=("$(jq -nc --arg title "${file%%=*}" --argjson size "$(stat -c%s "$work/blob")" --arg digest "$(put_blob "$layout" "$work/blob")" '
      {mediaType: "application/octet-stream", digest: $digest, size: $size, annotations: {"org.opencontainers.image.title": $title}}')")
  done
  printf '{}' >"$work/config"
  [ "${type%config.v1+json}" = "$type" ] || config=$type
  jq -nc --arg type "$type" --arg config "$config" --arg digest "$(put_blob "$layout" "$work/config")" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json", artifactType: $type, config: {mediaType: $config, digest: $digest, size: 2},
    layers: $ARGS.positional | map(fromjson)} | if $config == $type then del(.artifactType) else . end' --args "${layers[@]}" >"$work/manifest"
  digest=$(sha256sum <"$work/manifest" | cut -d' ' -f1)
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"annotations":{"%s":"%s"}}]}' \
    application/vnd.oci.image.manifest.v1+json "$digest" "$(stat -c%s "$work/manifest")" org.opencontainers.image.ref.name "$ref" \
    >"$layout/index.json"
  put_blob "$layout" "$work/manifest"
  rm -r "$work"
}

# make_index LAYOUT REF ARCHITECTURE...: a layout with an index of one small image for each. Prints the index's digest.
make_index() {
  local layout=$1 ref=$2 work architecture size digest entries=() type=application/vnd.oci.image
  shift 2
  work=$(mktemp -d "$T/index-XXXXXX")
  mkdir "$work/tree"
  echo text >"$work/tree/file"
  make_image "$layout" one '{"Cmd":["x"]}' "$work/tree"
  for architecture; do
    gantry-inspect --config "oci:$layout:one" | jq -c --arg a "$architecture" '.architecture = $a' >"$work/config"
    size=$(stat -c%s "$work/config")
    gantry-inspect --raw "oci:$layout:one" | jq -jc --arg digest "$(put_blob "$layout" "$work/config")" \
      --argjson size "$size" '.config.digest = $digest | .config.size = $size' >"$work/manifest"
    size=$(stat -c%s "$work/manifest")
    entries+=("{\"mediaType\":\"$type.manifest.v1+json\",\"digest\":\"$(put_blob "$layout" "$work/manifest")\",")
    entries[-1]+="\"size\":$size,\"platform\":{\"architecture\":\"$architecture\",\"os\":\"linux\"}}"
  done
  printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' $type.index.v1+json "$(IFS=,; echo "${entries[*]}")" \
    >"$work/index"
  size=$(stat -c%s "$work/index")
  digest=$(put_blob "$layout" "$work/index")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%s,"annotations":{"%s":"%s"}}]}' \
    $type.index.v1+json "$digest" "$size" org.opencontainers.image.ref.name "$ref" >"$layout/index.json"
  rm -r "$work"
  printf '%s\n' "$digest"
}

# image_architecture: this machine's, as images spell it.
image_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# make_busybox_image LAYOUT REF: three layers: busybox with its commands as symbolic links, users and a file that goes;
# a whiteout of that file and a hard link; a setuid copy of busybox. Runs `sh -c 'echo hello from gantry'`.
make_busybox_image() {
  local layout=$1 ref=$2 work applet busybox
  need busybox
  busybox=$(command -v busybox)
  file_is_static "$busybox" || skip "busybox is not the static one (package busybox-static)"
  work=$(mktemp -d "$T/tree-XXXXXX")
  mkdir -p "$work"/1/{bin,etc,root,home/app,dev,proc,sys,var} "$work"/2/{etc,opt} "$work"/3/bin
  mkdir -m 1777 "$work/1/tmp"
  cp "$busybox" "$work/1/bin/busybox"
  for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/1/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n' >"$work/1/etc/passwd"
  printf 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n' >"$work/1/etc/group"
  echo 'this goes away' >"$work/1/etc/removed"
  : >"$work/2/etc/.wh.removed"
  echo 'two names, one file' >"$work/2/opt/first"
  ln "$work/2/opt/first" "$work/2/opt/second"
  cp "$busybox" "$work/3/bin/su-busybox"
  chmod 4755 "$work/3/bin/su-busybox"
  make_image "$layout" "$ref" '{"Env":["PATH=/bin","GREETING=hello"],"Cmd":["sh","-c","echo hello from gantry"],
    "WorkingDir":"/home/app","ExposedPorts":{"8080/tcp":{}},"Volumes":{"/var/data":{}},
    "Labels":{"org.example.purpose":"test"}}' "$work/1" "$work/2" "$work/3"
  rm -r "$work"
}

# file_is_static FILE: no program interpreter, so it runs in a root of its own.
file_is_static() { ! grep -aqE 'ld-linux|ld-musl' <(head -c 4096 "$1"); }

# make_gpg_key NAME: a throw-away OpenPGP key that signs without a passphrase, in $GNUPGHOME; the public key is
# exported to $T/NAME.pub.gpg. Sets $fingerprint.
make_gpg_key() {
  need gpg gpg-agent
  gpg --batch --quiet --passphrase '' --quick-generate-key "$1 <$1@example.com>" ed25519 sign never 2>"$T/gpg.err" ||
    fail "make a key: $(cat "$T/gpg.err")"
  fingerprint=$(gpg --batch --with-colons --list-keys "$1@example.com" | awk -F: '$1 == "fpr" {print $10; exit}')
  gpg --batch --export "$fingerprint" >"$T/$1.pub.gpg"
}

# sign_at LAYOUT NAME SECONDS: the lookaside's one signature by $fingerprint for the image of the layout, as NAME, made at
# that time.
sign_at() {
  local digest directory
  digest=$(jq -r '.manifests[0].digest' "$1/index.json")
  directory=$T/sigstore/$(cut -d/ -f2- <<<"${2%:*}")@${digest/:/=}
  mkdir -p "$directory"
  printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"%s"},"type":"atomic container signature"},"optional":{}}' \
    "$2" "$digest" >"$T/payload"
  gpg -q --batch --yes --faked-system-time "$3!" --local-user "$fingerprint" --output "$directory/signature-1" --sign \
    "$T/payload" 2>/dev/null
}

# as_user COMMAND...: runs it as an ordinary user (nobody, when we are root) with a home and a store of its own below
# $T/user. The binaries are copied when that user cannot reach them where they are.
as_user() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
    return
  fi
  need setpriv
  local become=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all) path=$PATH
  if [ ! -d "$T/user" ]; then
    mkdir -p "$T/user/run"
    cp -r "$XDG_CONFIG_HOME" "$T/user/.config"
    chown -R 65534:65534 "$T/user"
    chmod 0700 "$T/user/run"
    "${become[@]}" test -x "$GANTRY_BIN" || cp -r "$GANTRY_BIN" "$T/user-bin"
  fi
  [ ! -d "$T/user-bin" ] || path=$T/user-bin:$PATH
  (
    unset GANTRY_ROOT
    cd "$T/user" || exit 1
    PATH=$path HOME=$T/user XDG_CONFIG_HOME=$T/user/.config XDG_DATA_HOME=$T/user/.local/share TMPDIR=/tmp \
      XDG_CACHE_HOME=$T/user/.cache XDG_RUNTIME_DIR=$T/user/run GNUPGHOME=$T/user/.gnupg exec "${become[@]}" "$@"
  )
}

# kill_window=MICROSECONDS, then in turns a_random_moment and killed_in_time STATUS: when to kill something that may be over
# sooner or later than it was on the machine this was written on. The window follows what is seen, so that most rounds
# kill in time and some come to their end.
a_random_moment() { sleep "$(printf '%d.%06d' 0 $(((RANDOM * 32768 + RANDOM) % kill_window)))"; }
killed_in_time() {
  if [ "$1" = 0 ]; then
    kill_window=$((kill_window * 9 / 10 + 1000))
    return 1
  fi
  kill_window=$((kill_window < 900000 ? kill_window * 26 / 25 : kill_window))
}
