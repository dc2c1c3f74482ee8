#!/bin/bash
# A start of an image that is in the store takes less than 8 MiB of memory, whichever family of signatures the policy goes
# by that no program beside ours checks. Measured with everything at its usual place: how much of a library comes with
# what is touched of it depends on where the loader puts it, and by chance that is up to 0.7 MiB more.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/signers.sh"
need perl gpg openssl setarch
setarch -R true 2>/dev/null || skip 'this system keeps random places'
[ "$(id -u)" = 0 ] || skip 'another network is made for who is not root'

# peak COMMAND...: of the memory of its largest process, in KiB. Perl has less than 2 MiB itself, which would count.
getrusage=165
[ "$(uname -m)" != x86_64 ] || getrusage=98
peak() {
  perl -e '$call = shift; system(@ARGV) == 0 or die; $usage = "\0" x 144; syscall($call, -1, $usage);
    print unpack("x32 q", $usage)' "$getrusage" "$@"
}

make_busybox_image "$T/image" v1
start_registry
push "$T/image:v1" org/app:v1
image=$registry/org/app:v1
make_signers
for family in "${families[@]}"; do
  sign_by "$family" "docker://$image" >/dev/null
  gantry-fetch -q --policy "$T/$family.json" "docker://$image" >/dev/null
  gantry-run -q --policy "$T/$family.json" "$image" /bin/true
  kib=$(peak setarch -R gantry-run -q --policy "$T/$family.json" "$image" /bin/true)
  echo "$family: $kib KiB"
  [ "$kib" -lt 8192 ] || fail "$family takes $kib KiB"
done

# They were checked: with a key of somebody else none counts.
gantry-keygen -q --output "$T/other" >/dev/null
sed 's|/key\.pub|/other.pub|' "$T/sigstoreSigned.json" >"$T/other.json"
expect_exit 125 gantry-run -q --policy "$T/other.json" "$image" /bin/true
expect_text 'is refused' "$T/err"
