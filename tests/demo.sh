#!/bin/bash
# ./dev demo: the main job on real parts. A registry of Debian's on a free loopback port, an image of several layers, a
# throw-away key; then what a user would type. Everything is in a directory that goes away.
set -euo pipefail
# shellcheck source=support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/support/lib.sh"

if [ -t 1 ]; then
  bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'
else
  bold='' dim='' plain=''
fi

# step TEXT: what comes now.
step() { printf '\n%s# %s%s\n' "$dim" "$1" "$plain"; }

# quoted WORD...: the words as a user would type them, each after a space.
quoted() {
  local word
  for word; do
    [[ $word =~ ^[a-zA-Z0-9_./:@=+,-]+$ ]] && printf ' %s' "$word" || printf ' %s' "${word@Q}"
  done
}

# type_in [!CODE] COMMAND...: shows the command as typed, and runs it; it must exit with 0, or CODE.
type_in() {
  local want=0 got=0
  if [[ $1 == !* ]]; then
    want=${1#!}
    shift
  fi
  printf '%s$%s%s\n' "$bold" "$(quoted "$@")" "$plain"
  "$@" || got=$?
  [ "$got" = "$want" ] || fail "exit $got instead of $want"
  [ "$got" = 0 ] || printf '%s[exit %s]%s\n' "$dim" "$got" "$plain"
}

mkdir "$T/work"
cd "$T/work"
begin=$SECONDS

step "An image of three layers: busybox; a whiteout and a hard link; a setuid program. It goes to a registry."
make_busybox_image hello v1
make_image unsigned v1 '{"Cmd":["/bin/true"]}' "$XDG_DATA_HOME"
start_registry
type_in skopeo --insecure-policy copy -q --dest-tls-verify=false oci:hello:v1 "docker://$registry/demo/hello:v1"

step "Nothing runs that nobody vouches for: by default the policy rejects everything."
type_in !125 gantry run "docker://$registry/demo/hello:v1"

step "A key signs it. The signature covers the digest and the name, and skopeo and Podman understand it, too."
make_gpg_key demo
cp "$T/demo.pub.gpg" demo.gpg
type_in gantry sign --key demo@example.com --as "docker://$registry/demo/hello:v1" oci:hello:v1

step "Whoever has the public key can say that its signatures count, for this repository."
type_in gantry trust add --key demo.gpg "docker://$registry/demo/hello"

step "Fetch it: the policy decides before a layer is fetched and before the image gets its name."
type_in gantry fetch "docker://$registry/demo/hello:v1"
type_in gantry store list
type_in gantry verify --explain "$registry/demo/hello:v1"

step "Convert it, straight from the registry: to an App Container Image, and to an OCI layout."
type_in gantry convert "docker://$registry/demo/hello:v1" aci:hello.aci
type_in gantry convert "docker://$registry/demo/hello:v1" oci:copy:v1
type_in ls -sh hello.aci copy

step "Run it, in namespaces of its own."
type_in gantry run "docker://$registry/demo/hello:v1"
type_in gantry run "docker://$registry/demo/hello:v1" sh -c 'id; ls -l /opt /bin/su-busybox; ls /etc; ps'

step "Build an image on top of it by a script, and sign it. A file and a command are all that is new."
echo 'hello from a build' >greeting
cat >hello.acb <<END
begin docker://$registry/demo/hello:v1
copy greeting /etc/greeting
set-exec -- cat /etc/greeting
write --format oci built
END
type_in cat hello.acb
type_in gantry build script hello.acb
type_in gantry sign --key demo@example.com --as "docker://$registry/demo/hello:v2" oci:built
type_in gantry push --as "docker://$registry/demo/hello:v2" oci:built "docker://$registry/demo/hello:v2"

step "Serve what the registry has as signed App Container Images, made as they are asked for, to whoever knows the name."
: >serve.out
serve=(gantry serve --upstream "docker://$registry" --url http://images.example --listen 127.0.0.1:0 --cache made --sign-key demo@example.com)
printf '%s$%s &%s\n' "$bold" "$(quoted "${serve[@]}")" "$plain"
"${serve[@]}" >serve.out 2>serve.log &
started_pids+=($!)
until server=$(grep -o '127.0.0.1:[0-9]*' serve.out); do
  kill -0 "${started_pids[-1]}" 2>/dev/null || fail "$(cat serve.log)"
  sleep 0.05
done
type_in curl -fsS "http://$server/demo/hello?ac-discovery=1"

step "Fetch and run it by that name. There is no images.example: the server is asked as its proxy, and so without TLS."
type_in curl -fsS -o server.gpg "http://$server/pubkeys.gpg"
export http_proxy="http://$server"
type_in !4 gantry fetch --insecure-options=http appc:images.example/demo/hello:v2
type_in gantry trust add --yes --prefix images.example/demo server.gpg
type_in gantry fetch --insecure-options=http appc:images.example/demo/hello:v2
unset http_proxy
type_in gantry run appc:images.example/demo/hello:v2

step "An image in the same repository that nobody signed is refused, and the answer says what would trust it."
skopeo --insecure-policy copy -q --dest-tls-verify=false oci:unsigned:v1 "docker://$registry/demo/hello:unsigned"
type_in !4 gantry fetch "docker://$registry/demo/hello:unsigned"

step "The store is sound."
type_in gantry store check

printf '\n%sThat took %s seconds. Registry, keys, images and store are gone.%s\n' "$dim" "$((SECONDS - begin))" "$plain"
