# A fetch by appc name that is killed keeps nothing, takes its other half along, and the next one is whole; one that breaks
# off is no image. Over plain http, which the loopback may have.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
in_namespaces_of_its_own -rn
need gpg ip perl
ip link set lo up
make_busybox_image "$T/layout" 1.0
make_gpg_key signer
expect_exit 0 gantry-trust add --yes --prefix 127.0.0.1 "$T/signer.pub.gpg"
gantry-convert --insecure-options=image --name 127.0.0.1/app "oci:$T/layout:1.0" "aci:$T/app.aci" >/dev/null 2>&1
gantry-sign --key "$fingerprint" "aci:$T/app.aci" >/dev/null
# What stands in $T/mode: whole, or "stall" or "break" after half of the file.
cat >"$T/server.pl" <<'END'
use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; my $t = shift;
sub slurp { open my $f, "<", shift or die; local $/; <$f> }
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 80, Listen => 9, ReuseAddr => 1) or die $!;
while (my $c = $s->accept) {
  next if fork;
  my ($path) = <$c> =~ m{^GET (\S+)}; while (<$c> =~ /\S/) {}
  my $body = $path =~ /ac-discovery/ ? '<meta name="ac-discovery" content="127.0.0.1 http://{name}.{ext}">'
    : slurp("$t/app." . ($path =~ /asc$/ ? "aci.asc" : "aci"));
  my $mode = $path =~ /\.aci$/ ? slurp("$t/mode") : "";
  print $c "HTTP/1.0 200 OK\r\nContent-Length: ", length $body, "\r\n\r\n", $mode ? substr($body, 0, length($body) / 2) : $body;
  $c->flush; <$c> if $mode eq "stall"; exit;
}
END
echo -n stall >"$T/mode"
perl "$T/server.pl" "$T" &
started_pids+=($!)
for _ in $(seq 200); do ! (: <>/dev/tcp/127.0.0.1/80) 2>/dev/null || break; sleep 0.05; done
part=$GANTRY_ROOT/aci/127.0.0.1%2Fapp%2Carch%3D$(uname -m | sed s/x86_64/amd64/)%2Cos%3Dlinux.aci.part
gantry-fetch appc:127.0.0.1/app >"$T/out" 2>&1 &
fetch=$!
for _ in $(seq 200); do [ ! -s "$part" ] || break; sleep 0.05; done
[ -s "$part" ] || fail "nothing came: $(cat "$T/out")"
other=$(cat "/proc/$fetch/task/$fetch/children")
[ -n "$other" ] || fail "no other half"
kill -9 "$fetch"
wait "$fetch" && fail "it was not killed"
for _ in $(seq 100); do [ -e "/proc/${other// /}" ] || break; sleep 0.05; done
[ ! -e "/proc/${other// /}" ] || fail "the half with the network lives"
[ "$(ls "$GANTRY_ROOT/aci")" = "$(basename "$part")" ] || fail "kept: $(ls "$GANTRY_ROOT/aci")"
expect_exit 3 gantry-verify appc:127.0.0.1/app

echo -n break >"$T/mode"
expect_exit 6 gantry-fetch appc:127.0.0.1/app
[ -z "$(ls "$GANTRY_ROOT/aci")" ] || fail "kept: $(ls "$GANTRY_ROOT/aci")"
: >"$T/mode"
expect_exit 0 gantry-fetch appc:127.0.0.1/app
cmp "$T/app.aci" "${part%.part}" || fail "another file"
expect_exit 0 gantry-verify appc:127.0.0.1/app
