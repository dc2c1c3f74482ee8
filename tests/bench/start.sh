# shellcheck shell=bash
# The sections start and cold of run.sh, which sources this: what a container's start costs, at full security, beside
# other runtimes and the bare sequence of kernel calls; and what it costs with nothing of the image there.
# shellcheck disable=SC2154 # what run.sh and lib.sh set

profile=/usr/share/containers/seccomp.json

# A bundle for gantry-oci, runc and crun, with the mounts and namespaces that runc proposes, and podman's filter of system
# calls as podman hands it over, in few bytes, as engines write it. The filter as a program for bwrap and the bare sequence: $T/filter.
make_bundle() {
  umoci unpack --image "$T/busybox:v1" "$T/bundle" >/dev/null 2>&1
  rm "$T/bundle/config.json"
  (cd "$T/bundle" && runc spec)
  jq -c --slurpfile profile "$profile" '
    def none($of): map(select(IN($of[]))) == [];
    .process.capabilities.bounding as $caps | $profile[0] as $from |
    .process.terminal = false | .process.args = ["/bin/true"] | .root.readonly = false |
    .linux.namespaces += [{type: "cgroup"}] |
    .linux.seccomp = {
      defaultAction: $from.defaultAction,
      architectures: ($from.archMap[] | select(.architecture == "SCMP_ARCH_X86_64") | [.architecture] + .subArchitectures),
      syscalls: [$from.syscalls[] |
        select((.includes.caps // []) - $caps == [] and (.excludes.caps // [] | none($caps)) and
          (.includes.arches // ["amd64"] | index("amd64")) and (.excludes.arches // [] | none(["amd64"]))) |
        {names, action, args: (.args // [])} + if .errnoRet then {errnoRet} else {} end]}' \
    "$T/bundle/config.json" >"$T/config.json"
  mv "$T/config.json" "$T/bundle/config.json"
  bench_filter "$T/bundle/config.json" >"$T/filter"
  mkdir "$T/sleeper"
  jq -c --arg root "$T/bundle/rootfs" '.process.args = ["sleep", "1000"] | .root.path = $root' "$T/bundle/config.json" \
    >"$T/sleeper/config.json"
}

# The groups of this process, one in each hierarchy, for the bare sequence. `-` leaves out v2.
own_groups() {
  awk -F : -v without="${1-}" '$2 != "" || without == "" {
    name = $2 == "" ? "unified" : $2
    sub("^name=", "", name)
    top = "/sys/fs/cgroup/" name
    if (system("test -d " top) != 0) { if ($2 != "") next; top = "/sys/fs/cgroup" }
    print top ($3 == "/" ? "" : $3) }' /proc/self/cgroup | while read -r group; do
    [ ! -d "$group" ] || printf '%s ' "$group"
  done
}

# view NAME COMMAND: a mount namespace in which the command was run, without the v2 hierarchy that has no controllers, which
# crun refuses beside v1. Sets `seen` to it.
view() {
  unshare -m --propagation private sh -c "
    if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
    $2
    echo ready; exec sleep 3600" >"$T/$1" &
  started_pids+=("$!")
  until grep -q ready "$T/$1"; do sleep 0.02; done
  seen=/proc/$!/ns/mnt
}

crun=(crun --root "/dev/shm/${T##*/}/crun")
runc=(runc --root "/dev/shm/${T##*/}/runc")
oci=(gantry-oci --root "/dev/shm/${T##*/}/oci")
bwrap=(bwrap --unshare-all --bind "$T/bundle/rootfs" / --proc /proc --dev /dev)

# bare_sequence [-]: sets `bare` to it, for own_groups, and `barest` to it without what bwrap does not make either.
bare_sequence() {
  barest=(bench_bare_start "$T/bundle/rootfs" -)
  bare=(bench_bare_start "$T/bundle/rootfs" "$T/filter")
  mapfile -t -O ${#bare[@]} bare < <(own_groups "${1-}" | tr ' ' '\n' | grep .)
}

# beyond_bwrap FILE: the lines of bench_measure, gantry's first. What bwrap does not pay for, by the kernel calls alone,
# is what no runtime that makes control groups and a filter can take less than.
beyond_bwrap() {
  awk -F '\t' 'NR == 1 { own = $2 }
    $1 == "bwrap --unshare-all" { peer = $2 }
    $1 == "the bare sequence of calls" { full = $2 }
    $1 == "without groups and filter" { least = $2 }
    END {
      printf "  groups and filter, which bwrap has not: %.1f ms; without them gantry takes %.2f of bwrap, and they alone add %.2f\n", \
        full - least, (own - full + least) / peer, (full - least) / peer
    }' "$1"
}

# starts TITLE RUNS GAP: of /bin/true, by all. MOUNT_NAMESPACE may name one for all.
starts() {
  local bare barest
  bare_sequence "${MOUNT_NAMESPACE:+-}"
  peers() {
    MOUNT_NAMESPACE=${MOUNT_NAMESPACE:-$crun_view} entry 'crun run' - "${crun[@]}" run -b "$T/bundle" bench-crun
    entry 'runc run' - "${runc[@]}" run -b "$T/bundle" bench-runc
    entry 'bwrap --unshare-all' - "${bwrap[@]}" /bin/true
    entry 'bwrap, with the filter' - "${bwrap[@]}" --seccomp 9 /bin/true
    entry 'the bare sequence of calls' - "${bare[@]}"
    entry 'without groups and filter' - "${barest[@]}"
  }
  local expected='at most 0.25;;at most 1.1;;at most 1.5'
  {
    entry 'gantry-oci run' - "${oci[@]}" run -b "$T/bundle" bench-oci
    peers
  } | bench_measure "$2" "$3" 9<"$T/filter" >"$T/measured"
  table "start of a bundle's /bin/true, $1" "$expected" 8 <"$T/measured"
  beyond_bwrap "$T/measured"
  {
    entry 'gantry-run' - gantry-run -q --security-opt "seccomp=$profile" "$registry/bench/busybox:v1" /bin/true
    peers
  } | bench_measure "$2" "$3" 9<"$T/filter" >"$T/measured"
  table "start of an image's /bin/true, $1" "$expected" 8 <"$T/measured"
  beyond_bwrap "$T/measured"
}

# The image's, by keys of each family.
signed_starts() {
  local family
  make_signers
  for family in "${families[@]}"; do
    sign_by "$family" "docker://$registry/bench/busybox:v1" >/dev/null
    gantry-fetch -q --policy "$T/$family.json" "docker://$registry/bench/busybox:v1" >/dev/null
    {
      entry "gantry-run, $family" - gantry-run -q --policy "$T/$family.json" "$registry/bench/busybox:v1" /bin/true
      entry 'by a policy that accepts anything' - gantry-run -q "$registry/bench/busybox:v1" /bin/true
    } | bench_measure 21 0 | table "start of a signed image's /bin/true" '' 8
  done
}

# A hundred at once. The words of a command have "%" where its number goes.
parallel_starts() {
  local bare barest
  bare_sequence
  cat >"$T/hundred.sh" <<'END'
for i in $(seq 100); do
  "${@//%/$i}" &
  pids[i]=$!
done
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
END
  {
    entry 'gantry-oci run' - bash "$T/hundred.sh" "${oci[@]}" run -b "$T/bundle" bench-oci-%
    entry 'gantry-run' - bash "$T/hundred.sh" gantry-run -q --security-opt "seccomp=$profile" \
      "$registry/bench/busybox:v1" /bin/true
    MOUNT_NAMESPACE=$crun_view entry 'crun run' - bash "$T/hundred.sh" "${crun[@]}" run -b "$T/bundle" bench-crun-%
    entry 'runc run' - bash "$T/hundred.sh" "${runc[@]}" run -b "$T/bundle" bench-runc-%
    entry 'bwrap --unshare-all' - bash "$T/hundred.sh" "${bwrap[@]}" /bin/true
    entry 'the bare sequence of calls' - bash "$T/hundred.sh" "${bare[@]}"
    entry 'without groups and filter' - bash "$T/hundred.sh" "${barest[@]}"
  } | bench_measure 3 0 >"$T/measured"
  table '100 starts at once' ';at most 0.25;;at most 1.1;at most 1.5' <"$T/measured"
  # What the kernel alone takes for a hundred: no runtime on this machine is below it.
  awk -F '\t' '$1 == "crun run" { peer = $2 }
    $1 == "the bare sequence of calls" { printf "  %-34s %.2f\n", "the bare sequence, of crun", $2 / peer }' "$T/measured"
  beyond_bwrap "$T/measured"
}

# One more process in a container that runs.
execs() {
  local uuid
  "${oci[@]}" run -d -b "$T/sleeper" oci-sleeper </dev/null >/dev/null 2>&1
  "${runc[@]}" run -d -b "$T/sleeper" runc-sleeper </dev/null >/dev/null 2>&1
  nsenter --mount="$crun_view" "${crun[@]}" run -d -b "$T/sleeper" crun-sleeper </dev/null >/dev/null 2>&1
  uuid=$(gantry-run -q -d --security-opt "seccomp=$profile" "$registry/bench/busybox:v1" sleep 1000)
  {
    entry 'gantry-oci exec' - "${oci[@]}" exec oci-sleeper /bin/true
    entry 'gantry-run enter' - gantry-run enter "$uuid" /bin/true
    MOUNT_NAMESPACE=$crun_view entry 'crun exec' - "${crun[@]}" exec crun-sleeper /bin/true
    entry 'runc exec' - "${runc[@]}" exec runc-sleeper /bin/true
  } | bench_measure 41 60 | table 'a process more in a container, 60 ms between' ';at most 0.25' 8
  gantry-run rm -f "$uuid" >/dev/null
}

# From a registry on this machine, with nothing there, to a command's output. The peers take long: they run twice, and
# podman, whose driver copies the whole tree for each layer, once.
cold_run() {
  local at=$T/fresh name=$registry/bench/debian:v1 clean="sh $T/fresh.sh; rm -rf /dev/shm/${T##*/}/p"
  push "$cache/image:bench" bench/debian:v1
  cp "$policy" "$XDG_CONFIG_HOME/containers/policy.json"
  fresh_disk "$at"
  # What `view` does for crun elsewhere, but where the fresh disk is seen: some milliseconds.
  cat >"$T/chain.sh" <<END
skopeo --insecure-policy copy -q --src-tls-verify=false docker://$name oci:$at/peer:v1
umoci unpack --image $at/peer:v1 $at/chain >/dev/null 2>&1
cp $T/chain.json $at/chain/config.json
unshare -m --propagation private sh -c '! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
  exec ${crun[*]} run -b $at/chain bench-chain'
END
  jq '.process.args = ["echo", "first"]' "$T/bundle/config.json" >"$T/chain.json"
  local podman=(podman --root "$at/pods" --runroot "/dev/shm/${T##*/}/p" --storage-driver vfs --cgroup-manager cgroupfs --runtime runc
    run --rm -q --tls-verify=false --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
  {
    entry 'gantry-run docker://' "$clean" gantry-run --root "$at/store" -q "docker://$name" echo first
    entry 'skopeo, umoci, crun' "$clean" sh -e "$T/chain.sh"
  } | measured_apart 1 0 first-output >"$T/measured"
  entry 'podman run, driver vfs, once' "$clean" "${podman[@]}" "$name" echo first | measured_apart 0 0 first-output 2>"$T/podman.log" >>"$T/measured" ||
    echo "podman cannot run here: $(tail -n 1 "$T/podman.log")"
  # No run on these cores takes less than what it needs to fetch, check, and make the files.
  median_parts unshare -m --propagation private sh -ec "sh $T/fresh.sh; TMPDIR=$at exec bench_parts \"\$@\"" parts \
    tree "$at" "${blobs[@]}" >"$T/parts"
  registry_part bench/debian "$registry_pid" >>"$T/parts"
  against_parts 'at most 0.15' "from a registry to first output, $(du -sh "$cache/image" | cut -f1)" <"$T/measured"
  rm -rf "$at" "$T/disk"
}

# Also after a failure: what execs started, and the state of containers.
end_start() {
  {
    "${oci[@]}" delete -f oci-sleeper
    "${runc[@]}" delete -f runc-sleeper
    nsenter --mount="$crun_view" "${crun[@]}" delete -f crun-sleeper
    rm -rf "/dev/shm/${T##*/}"
  } >/dev/null 2>&1
}

has_profile() {
  [ -e "$profile" ] || { echo "start: no $profile (package golang-github-containers-common)" && return 1; }
}

# What both sections begin with. Sets crun_view and registry_pid.
begin_start() {
  local seen
  make_busybox_image "$T/busybox" v1
  start_registry
  registry_pid=${started_pids[-1]}
  push "$T/busybox:v1" bench/busybox:v1
  make_bundle
  view plain :
  crun_view=$seen
  at_exit end_start
  # As /run usually is.
  mkdir "/dev/shm/${T##*/}"
}

# The next section has its own.
finish_start() {
  end_start || true
  rm -rf "$T/bundle" "$T/busybox" "$T/sleeper"
}

start() {
  local gap seen
  has_profile || return 0
  begin_start
  gantry-fetch -q "docker://$registry/bench/busybox:v1" >/dev/null
  for gap in 0 60; do starts "$gap ms between" 41 "$gap"; done
  signed_starts
  parallel_starts
  execs
  view crowded "mkdir $T/crowd; for i in \$(seq 1000); do mkdir $T/crowd/\$i && mount --bind $T/crowd/\$i $T/crowd/\$i; done"
  MOUNT_NAMESPACE=$seen starts '1000 mounts, 60 ms between' 21 60
  finish_start
}

cold() {
  has_profile || return 0
  begin_start
  cold_run
  finish_start
}
