# What a bundle asks for and a virtual machine cannot give is refused by name, and nothing is left of the container.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/vm.sh"
. "$(dirname "$0")/../support/oci.sh"
[ "$(id -u)" = 0 ] || skip "root's way"

machine='.annotations={"dev.gantry.isolation":"vm","dev.gantry.accel":"tcg"} | .process.args=["true"]'
[ ${#kernel[@]} = 1 ] || machine="$machine"' | .annotations["dev.gantry.kernel"]="'"${kernel[2]}"'"'
make_bundle "$machine"
cp "$bundle/config.json" "$T/good.json"
refused() { # WORDS JQ_FILTER
  jq "$2" "$T/good.json" >"$bundle/config.json"
  run_bundle 7
  expect_text "$1" "$T/err"
}
refused "the host's pid namespace" 'del(.linux.namespaces[] | select(.type == "pid"))'
refused "the host's network namespace" 'del(.linux.namespaces[] | select(.type == "network"))'
refused "the namespace '/proc/1/ns/ipc'" '(.linux.namespaces[] | select(.type == "ipc")).path="/proc/1/ns/ipc"'
refused 'a user namespace' '.linux.namespaces+=[{"type":"user"}] | .linux.uidMappings=[{"containerID":0,"hostID":0,"size":9}]
  | .linux.gidMappings=.linux.uidMappings'
refused 'hooks.createRuntime; hooks.createContainer; hooks.startContainer' \
  '.hooks={"createRuntime":[{"path":"/bin/true"}],"createContainer":[{"path":"/bin/true"}],"startContainer":[{"path":"/bin/true"}]}'
refused "the device '/dev/fuse'" '.linux.devices=[{"path":"/dev/fuse","type":"c","major":10,"minor":229}]'
refused "the propagation of the mount at '/m'" '.mounts+=[{"destination":"/m","type":"bind","source":"/tmp","options":["rbind","rshared"]}]'
refused "the type 'overlay' of the mount at '/m'" '.mounts+=[{"destination":"/m","type":"overlay","source":"o","options":["lowerdir=/tmp"]}]'
refused 'process.apparmorProfile' '.process.apparmorProfile="some"'
refused 'process.execCPUAffinity' '.process.execCPUAffinity={"final":"0"}'
refused '1024 bytes are too little' '.linux.resources.memory={"limit":1024}'
refused 'neither a file nor a directory' '.mounts+=[{"destination":"/m","type":"bind","source":"/dev/null","options":["bind"]}]'
refused "isolation 'wall'" '.annotations["dev.gantry.isolation"]="wall"'
cp "$T/good.json" "$bundle/config.json"
expect_exit 7 oci run --preserve-fds 1 --bundle "$bundle" "gantry-test-$$" 3</dev/null
expect_text 'descriptors of the host' "$T/err"
nothing_is_left "gantry-test-$$"
if unshare --user --map-root-user true 2>/dev/null; then
  expect_exit 7 unshare --user --map-root-user gantry-oci --root "$T/user-state" --rootless true run --bundle "$bundle" x
  expect_text 'only root of this machine' "$T/err"
fi
# What is to be executed and is not there.
jq '.process.args=["/no/such"]' "$T/good.json" >"$bundle/config.json"
run_bundle 3
expect_text "cannot execute '/no/such': no such file" "$T/err"
expect_exit 3 oci create --bundle "$bundle" "gantry-test-$$" </dev/null
expect_text "cannot execute '/no/such': no such file" "$T/err"
nothing_is_left "gantry-test-$$"
