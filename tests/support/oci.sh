# shellcheck shell=bash
# What the tests of gantry-oci share; source it after lib.sh.
#
#   $bundle  a bundle of busybox that make_bundle made
#   oci      gantry-oci with its state below $T

need busybox jq

oci() { gantry-oci --root "$T/state" "$@"; }

# make_bundle JQ_FILTER: a bundle at $bundle, of the configuration that `gantry-oci spec` writes, without a terminal and
# with a root that can be written to, changed by the filter.
make_bundle() {
  local name
  bundle=$(mktemp -d "$T/bundle-XXXXXX")
  chmod 0755 "$bundle"
  mkdir -p "$bundle/rootfs"/{bin,tmp,etc,proc,sys,dev}
  cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
  file_is_static "$bundle/rootfs/bin/busybox" || skip "busybox is not the static one (package busybox-static)"
  for name in sh cat id ls mount env stat ps grep tty true touch echo sleep hostname kill mkdir readlink date sed; do
    ln -s busybox "$bundle/rootfs/bin/$name"
  done
  gantry-oci spec --bundle "$bundle" ${rootless:+--rootless}
  change_bundle ".process.terminal=false | .root.readonly=false | $1"
}

# change_bundle JQ_FILTER: the configuration of $bundle.
change_bundle() {
  jq "$1" "$bundle/config.json" >"$bundle/config.new"
  mv "$bundle/config.new" "$bundle/config.json"
}

# run_bundle CODE: runs $bundle, which ends with CODE; its output in $T/out and $T/err. Nothing is left.
run_bundle() {
  expect_exit "$1" gantry-oci --root "$T/state" run --bundle "$bundle" "gantry-test-$$"
  nothing_is_left "gantry-test-$$"
}

# nothing_is_left ID: of the container: no state, no control group.
nothing_is_left() {
  local left
  [ ! -e "$T/state/$1" ] || fail "state of $1 is left"
  left=$(find /sys/fs/cgroup -maxdepth 4 -name "$1" 2>/dev/null || true)
  [ -z "$left" ] || fail "control groups are left: $left"
}

# Containers that a test leaves when it fails.
remove_containers() {
  local id
  for id in "$T"/state/*/; do
    [ -d "$id" ] && gantry-oci --root "$T/state" delete --force "$(basename "$id")" 2>/dev/null
  done
}
at_exit remove_containers
