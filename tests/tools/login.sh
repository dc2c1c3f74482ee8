# gantry login tries a password and stores it where skopeo finds it, too; gantry logout forgets it. The password is
# never on a command line, and a wrong one is not stored.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo htpasswd expect
htpasswd -Bbn user 'pass word' >"$T/htpasswd"
start_registry REGISTRY_AUTH=htpasswd REGISTRY_AUTH_HTPASSWD_REALM=test REGISTRY_AUTH_HTPASSWD_PATH="$T/htpasswd"
make_busybox_image "$T/layout" v1
file=$XDG_RUNTIME_DIR/containers/auth.json

expect_exit 1 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1"
expect_text "gantry login $registry" "$T/err"

printf 'wrong' | expect_exit 1 gantry-login --username user --password-stdin "$registry"
expect_text 'denies access' "$T/err"
! grep -q wrong "$T/out" "$T/err" || fail "the password is shown"
[ ! -e "$file" ] || fail "a wrong password was stored"

printf 'pass word\n' | expect_exit 0 gantry-login -u user --password-stdin "$registry"
[ "$(stat -c %a "$file")" = 600 ] || fail "others can read $file: $(ls -l "$file")"
expect_exit 0 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v1"
skopeo inspect --raw --tls-verify=false "docker://$registry/box:v1" >/dev/null || fail "skopeo does not find the password"

expect_exit 0 gantry-logout "$registry"
expect_exit 3 gantry-logout "$registry"
expect_exit 1 gantry-push -q --insecure-options=image "oci:$T/layout:v1" "docker://$registry/box:v2"

# On a terminal it asks, and what is typed for the password does not show.
REGISTRY=$registry expect -c 'set timeout 20
  spawn gantry-login $env(REGISTRY)
  expect "user name: " { send "user\r" }
  expect "password: " { send "pass word\r" }
  expect eof' </dev/null >"$T/typed" 2>&1 || fail "$(cat "$T/typed")"
expect_text 'logged in as' "$T/typed"
! grep -q 'pass word' "$T/typed" || fail "the password is shown: $(cat "$T/typed")"
