# Keys for names of App Container Images, in rkt's layout: added by prefix and for every name, shown, confirmed by their
# fingerprint, hidden where another directory trusts them, listed and linted; on component boundaries.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need gpg jq

make_gpg_key one && one=$fingerprint
make_gpg_key two && two=$fingerprint
keys=$XDG_CONFIG_HOME/gantry/trustedkeys
trust() { expect_exit "$1" gantry trust "${@:2}"; }

trust 4 add --prefix example.com/app --fingerprint "$two" "$T/one.pub.gpg"
[ ! -e "$keys" ] || fail "a key that was not confirmed is trusted"
trust 0 add --prefix example.com/app --fingerprint "$one" "$T/one.pub.gpg"
expect_text "^key $one\$" "$T/err"
expect_text 'one <one@example.com>' "$T/err"
expect_text '^-----BEGIN PGP PUBLIC KEY BLOCK-----$' "$keys/prefix.d/example.com/app/${one,,}"
trust 0 add --yes --json --root "$T/two.pub.gpg"
[ "$(jq -r '.keys[0] | .fingerprint, .prefix, .changed' "$T/out" | xargs)" = "${two,,} true" ] || fail "$(cat "$T/out")"
[ -s "$keys/root.d/${two,,}" ] || fail "no key for every name"
trust 2 add --prefix example.com/app --root "$T/one.pub.gpg"
trust 2 add --prefix 'example.com/*' "$T/one.pub.gpg"
trust 2 add --prefix https://example.com "$T/one.pub.gpg"
trust 2 add --prefix example.com
trust 3 add --prefix example.com "$T/none"

trust 0 list
expect_text '^appc: example.com/app$' "$T/out"
expect_text "$one one <one@example.com> in $keys/prefix.d/example.com/app/${one,,}" "$T/out"
trust 0 list --json
[ "$(jq -r '.rules[] | select(.scope == "appc: any") | .requirements[0].vouchers[0].id' "$T/out")" = "$two" ] ||
  fail "$(cat "$T/out")"
trust 0 lint

# One for a name below hides the key that is trusted for every name; taking it away there leaves it elsewhere.
trust 0 remove --prefix example.com/app "$two"
expect_text 'hides the key' "$T/out"
[ -e "$keys/prefix.d/example.com/app/${two,,}" ] && [ ! -s "$keys/prefix.d/example.com/app/${two,,}" ] || fail "no empty file"
trust 0 list
expect_text "removed ${two,,}" "$T/out"
trust 0 remove --prefix example.com/app "${one:0:4} ${one:4}"
trust 3 remove --prefix example.com/app "$one"
trust 0 remove --root "$two"
trust 1 lint
expect_text 'idle-removal' "$T/out"
cp "$T/one.pub.gpg" "$keys/root.d/${two,,}"
trust 1 lint --json
[ "$(jq -c '[.findings[].code] | sort' "$T/out")" = '["misnamed-key"]' ] || fail "$(cat "$T/out")"

# A directory of one's own, as rkt has its places.
trust 0 add --yes --directory "$T/rkt/trustedkeys" --prefix example.org "$T/one.pub.gpg"
[ -s "$T/rkt/trustedkeys/prefix.d/example.org/${one,,}" ] || fail "nothing in --directory"
trust 0 remove --directory "$T/rkt/trustedkeys" --prefix example.org "$one"
[ ! -e "$T/rkt/trustedkeys/prefix.d/example.org/${one,,}" ] || fail "still there"
