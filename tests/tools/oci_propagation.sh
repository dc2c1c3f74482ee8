# Mounts of a bundle that are shared stay so: where its root is shared, what is mounted in them is seen on both sides, as in
# Kubernetes' volumes of mount propagation Bidirectional; in slaves on the container's. Nothing of the host's is undone
# when the container lets go of the host's root, and nothing that hides a path can be mounted over for the host as well.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "root's way"
in_namespaces_of_its_own -m --propagation private
. "$(dirname "$0")/../support/oci.sh"

mount -t tmpfs tmpfs "$T/tmp"
at_exit "umount -R -l $T/tmp"
mkdir "$T/tmp/both" "$T/tmp/down" "$T/tmp/none" "$T/tmp/below"
for dir in both down none; do mount --bind "$T/tmp/$dir" "$T/tmp/$dir"; done
mount --make-rshared /
find_mounts() { awk '{print $5}' /proc/self/mountinfo; }
field() { sed -n "s|^[^ ]* [^ ]* [^ ]* [^ ]* $1 [^ ]* \(.*\)- .*|\1|p" "$T/out" | sed 's/:[0-9]*//g; s/ $//'; }

bind() { printf '{"destination":"/%s","source":"%s","options":["rbind","%s"]}' "$1" "$T/tmp/$1" "$2"; }
for root in null '"shared"' '"rshared"' '"slave"'; do
  before=$(find_mounts) both='shared master' down=master own=unbindable up=
  case $root in *shared*) both=shared up=$T/tmp/both/in ;; esac
  case $root in *rshared*) down='shared master' own=shared ;; esac # all of it is said to be
  make_bundle ".linux.rootfsPropagation=$root | .mounts+=[$(bind both rshared), $(bind down rslave), $(bind none rprivate),
    {\"destination\":\"/new\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"shared\"]},
    {\"destination\":\"/own\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"unbindable\"]}] |
    .process.capabilities[]+=[\"CAP_SYS_ADMIN\"] | .process.args=[\"sh\",\"-c\",
      \"for d in both down none; do mkdir /\$d/in; mount -t tmpfs in /\$d/in; done; mount -o bind /etc /proc/acpi; mount -o bind /bin/sh /proc/keys; cat /proc/self/mountinfo; touch /ready; while [ -e /ready ]; do sleep 0.05; done; cat /proc/self/mountinfo\"]"
  [ "$root" != null ] || change_bundle 'del(.linux.rootfsPropagation)'
  c=gantry-test-$$
  oci run --bundle "$bundle" "$c" >"$T/out" 2>"$T/err" &
  started_pids+=($!)
  for _ in $(seq 200); do ! [ -e "$bundle/rootfs/ready" ] || break; sleep 0.05; done
  [ "$(field /new)" = shared ] || fail "$root: /new: $(cat "$T/out" "$T/err")"
  [ "$(field /own)" = "$own" ] || fail "$root: /own: $(cat "$T/out")"
  [ "$(field /both)" = "$both" ] || fail "$root: /both: $(cat "$T/out")"
  [ "$(field /down)" = "$down" ] || fail "$root: /down: $(cat "$T/out")"
  [ "$(comm -13 <(sort <<<"$before") <(find_mounts | sort) | xargs)" = "$up" ] ||
    fail "$root: the host has $(find_mounts | xargs)"
  [ -z "$(comm -23 <(sort <<<"$before") <(find_mounts | sort))" ] || fail "$root: undone: $(comm -23 <(sort <<<"$before") <(find_mounts | sort))"
  for dir in both down none; do mkdir -p "$T/tmp/$dir/out" && mount -t tmpfs out "$T/tmp/$dir/out"; done
  rm "$bundle/rootfs/ready"
  wait $! || fail "$root: $(cat "$T/err")"
  [ "$(awk '$5 ~ "/out$" {print $5}' "$T/out" | xargs)" = "/both/out /down/out" ] || fail "$root: $(cat "$T/out")"
  [ -z "$up" ] || umount "$up"
  for dir in both down none; do umount "$T/tmp/$dir/out"; rm -r "$T/tmp/$dir"/*; done
  nothing_is_left "$c"
done
