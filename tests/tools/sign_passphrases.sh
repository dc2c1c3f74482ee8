# Keys of every kind in one command, each under a passphrase of its own, which come as lines of standard input in the order
# of the keys; no program that is started has one in its arguments or environment (seen where there is strace).
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg

cd "$T"
gpg -q --batch --pinentry-mode loopback --passphrase 'word one' --quick-generate-key one@gantry.example ed25519 sign never
gpg --export one@gantry.example >key.gpg
gpgconf --kill all
gantry keygen -q --output two --passphrase-file - >/dev/null <<<'word two'
gantry keygen -q --output three --format pkcs8 --passphrase-file - >/dev/null <<<'word three'
mkdir root && echo hello >root/hello
make_image layout v1 '{"Cmd":["/hello"]}' root
by_key='{"type":"sigstoreSigned","keyPath":"%s"}'
# shellcheck disable=SC2059 # the format is the requirement
printf "{\"default\":[$by_key,$by_key,{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"$T/key.gpg\"}]}" \
  "$T/two.pub" "$T/three.pub" >"$policy"
name=quay.io/org/app:v1
sign() { gantry sign --key two.key --key one@gantry.example --key three.key --passphrase-file - --as "$name" oci:layout:v1; }

printf 'word two\nword one\nword wrong\n' | expect_exit 4 sign
printf 'word two\nword wrong\nword three\n' | expect_exit 1 sign
rm -rf sigstore layout/signatures
expect_exit 4 gantry verify --as "$name" oci:layout:v1
# The agent forgets what it knows, and is no child of what is traced, which would wait for it: none is launched while the
# one before is still ending.
gpgconf --kill all
while [ -n "$(gpg-connect-agent -q --no-autostart 'GETINFO pid' /bye 2>/dev/null)" ]; do sleep 0.02; done
gpgconf --launch gpg-agent
traced=()
if strace -qq -o calls true 2>/dev/null; then traced=(strace -f -qq -v -s 4096 -e trace=execve -e signal=none -o calls); fi
printf 'word two\nword one\nword three\n' | expect_exit 0 "${traced[@]}" gantry sign --key two.key --key one@gantry.example \
  --key three.key --passphrase-file - --as "$name" oci:layout:v1
[ "$(wc -l <out)" = 3 ] || fail "not three signatures: $(cat out)"
expect_exit 0 gantry verify --as "$name" oci:layout:v1
[ ${#traced[@]} = 0 ] || expect_text 'execve.*gpg' calls
! grep -n 'word ' calls 2>/dev/null || fail "a passphrase is in what a program was started with"
