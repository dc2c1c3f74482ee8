# registries.conf decides where gantry-fetch asks: mirrors first, by prefix, and the registry where they fail; the name
# of the image stays. The password of the registry never reaches a mirror; blocked registries are not asked at all.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need skopeo htpasswd
make_busybox_image "$T/layout" v1
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$policy"

htpasswd -Bbn amy opensesame >"$T/htpasswd"
start_registry REGISTRY_AUTH_HTPASSWD_REALM=test REGISTRY_AUTH_HTPASSWD_PATH="$T/htpasswd"
main=$registry main_log=$registry_log
skopeo --insecure-policy copy -q --dest-creds amy:opensesame --dest-tls-verify=false "oci:$T/layout:v1" "docker://$main/org/box:v1"
# One mirror would take that password, too; the other asks for none.
start_registry REGISTRY_AUTH_HTPASSWD_REALM=test REGISTRY_AUTH_HTPASSWD_PATH="$T/htpasswd"
guarded=$registry guarded_log=$registry_log
skopeo --insecure-policy copy -q --dest-creds amy:opensesame --dest-tls-verify=false "oci:$T/layout:v1" "docker://$guarded/copies/box:v1"
start_registry
mirror=$registry mirror_log=$registry_log
push "$T/layout:v1" copies/box:v1
printf 'opensesame\n' | gantry login -q -u amy --password-stdin "$main"

conf=$XDG_CONFIG_HOME/containers/registries.conf
cat >"$conf" <<END
[[registry]]
prefix = "$main/org"
location = "$main/org"
[[registry.mirror]]
location = "127.0.0.1:1/nobody"
[[registry.mirror]]
location = "$guarded/copies"
[[registry.mirror]]
location = "$mirror/copies"
[[registry]]
prefix = "blocked.example"
location = "blocked.example"
blocked = true
[aliases]
"box" = "$main/org/box"
END
forget "$main_log"
expect_soon 'auth.user.name=amy' "$guarded_log"
forget "$guarded_log"
expect_exit 0 gantry fetch -q "docker://$main/org/box:v1"
expect_text "^$main/org/box:v1@sha256:" "$T/out"
! grep -q 'http.request.method' "$main_log" || fail "the registry was asked beside its mirror"
expect_soon 'copies/box' "$mirror_log"
expect_soon 'copies/box.*status=401|authentication challenge' "$guarded_log"
! grep -q 'auth.user.name' "$guarded_log" || fail "a mirror was given the registry's password"

# What no mirror has comes from the registry, with its password; a short name is its alias.
rm -r "$GANTRY_ROOT"
skopeo --insecure-policy copy -q --dest-creds amy:opensesame --dest-tls-verify=false "oci:$T/layout:v1" "docker://$main/org/box:v2"
expect_exit 0 gantry fetch -q box:v2
expect_text "^$main/org/box:v2@sha256:" "$T/out"
expect_exit 0 gantry inspect -q "$main/org/box:v2"
expect_exit 3 gantry fetch -q box:v3
expect_text '127.0.0.1:1' "$T/err"

expect_exit 4 gantry fetch docker://blocked.example/x
expect_text 'blocked' "$T/err"
expect_exit 4 gantry push "oci:$T/layout:v1" docker://blocked.example/x
printf '[[registry]]\n' >"$conf"
expect_exit 5 gantry fetch "docker://$main/org/box:v1"
expect_text 'registries.conf.*location' "$T/err"
