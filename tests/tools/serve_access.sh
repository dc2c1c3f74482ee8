# Passwords and tokens guard images and figures, and are read again on SIGHUP; health, discovery and keys are for all.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/serve.sh"
need skopeo htpasswd
registry_with_busybox box:v1
accept_anything
htpasswd -nbB -C 5 anna secret >"$T/passwords"
printf '# a comment\nci:0123456789abcdef0123\n' >"$T/tokens"
start_server --basic "$T/passwords" --bearer "$T/tokens"

expect_status 401 "http://$server/v2/"
expect_text 'WWW-Authenticate: Basic realm=' "$T/headers"
expect_status 401 "$(aci_url box v1)"
expect_status 401 "http://$server/metrics"
expect_status 200 "http://$server/healthz"
expect_status 200 "http://$server/box?ac-discovery=1"
expect_status 401 "http://$server/v2/" -u anna:wrong
expect_status 401 "http://$server/v2/" -u bob:secret
expect_status 401 "http://$server/v2/" -H 'Authorization: Bearer 0123456789abcdef'
expect_status 200 "http://$server/v2/" -u anna:secret
expect_status 200 "http://$server/v2/" -u anna:secret
expect_status 200 "$(aci_url box v1)" -H 'Authorization: Bearer 0123456789abcdef0123'
expect_soon '"user":"ci"' "$server_log"
expect_exit 0 skopeo --insecure-policy copy -q --src-tls-verify=false --src-creds anna:secret "docker://$server/box:v1" "oci:$T/copy:1"
expect_exit 1 skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$server/box:v1" "oci:$T/copy:2"
expect_status 200 "http://$server/metrics" -u anna:secret
expect_text '^gantry_serve_made_total 2$' "$T/body"
expect_text '^gantry_serve_answers_total\{status="4xx"\} [0-9]+$' "$T/body"

htpasswd -nbB -C 5 bob other >"$T/passwords"
reload_server
expect_status 401 "http://$server/v2/" -u anna:secret
expect_status 200 "http://$server/v2/" -u bob:other

# A file that is no such file leaves things as they were.
echo nonsense >"$T/passwords"
reload_server 'expected NAME:HASH'
expect_status 200 "http://$server/v2/" -u bob:other
