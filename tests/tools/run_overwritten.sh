# CVE-2019-5736, CVE-2016-9962: a container whose root is that of the host, and which may trace every process that it sees,
# opens what each of them executes, to write to it once nobody does. It finds nothing of ours but a sealed init, and nobody
# who may do more than itself.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/oci.sh"
need perl
[ "$(id -u)" = 0 ] || skip "root's way"
c=gantry-test-$$

# Until /v/stop is there: the names and numbers of what was opened into /v/seen, and of what could be written to into
# /v/written. /usr is the host's, which has perl.
mkdir "$T/v"
cat >"$T/v/look" <<'END'
open my $seen, ">>", "/v/seen"; open my $written, ">>", "/v/written"; open my $mighty, ">>", "/v/mighty"; $seen->autoflush; my (%met, %open);
for (my $last = $$; !-e "/v/stop";) {
  for my $pid ($last + 1 .. $last + 40) {
    open(my $status, "<", "/proc/$pid/status") or next;
    for (<$status>) { /^CapPrm:\s+(\w+)/ && hex($1) >> 21 & 1 and print $mighty "$pid $_" }
    open(my $program, "<", "/proc/$pid/exe") or next;
    my ($device, $inode) = stat $program;
    $met{"$device:$inode"}++ and next;
    my $name = readlink("/proc/self/fd/" . fileno $program);
    print $seen "$name\n";
    my $sealed = $name =~ /^.memfd:/ && fcntl($program, 1034, 0) == 15;  # F_GET_SEALS: all of them
    $open{"$device:$inode"} = $program unless $sealed || $name =~ m{^/(bin|usr)/};  # its own
  }
  opendir my $all, "/proc"; for (readdir $all) { $last = $_ if /^\d+$/ && $_ > $last }
  for (keys %open) {
    open(my $again, ">>", "/proc/self/fd/" . fileno $open{$_}) or next;
    print $written readlink("/proc/self/fd/" . fileno $again), "\n"; $written->autoflush; delete $open{$_};
  }
}
END
mkdir -p "$T/base/bin" "$T/base/usr" "$T/base/v"
cp "$(command -v busybox)" "$T/base/bin/busybox"
ln -s busybox "$T/base/bin/true"
ln -s usr/lib "$T/base/lib"
ln -s usr/lib64 "$T/base/lib64"
make_image "$T/image" v1 '{"Cmd":["/usr/bin/perl","/v/look"],"Env":["PATH=/bin"]}' "$T/base"
# the_time_of COMMAND...: it is run again and again while the container looks; then what that has found is judged.
the_time_of() {
  for _ in $(seq 200); do [ -e "$T/v/seen" ] && break; sleep 0.05; done
  [ -e "$T/v/seen" ] || fail "nobody looks"
  for _ in $(seq 60); do "$@" </dev/null >/dev/null 2>&1 || true; done
  sleep 0.3
  touch "$T/v/stop"
  [ -s "$T/v/seen" ] || fail "nothing was seen at all: $*"
  ! grep -E 'gantry-(oci|run)' "$T/v/seen" || fail "seen: $*"
  [ ! -s "$T/v/written" ] || fail "written to: $(cat "$T/v/written"): $*"
  # CVE-2016-9962: nor could it make a process do what it may not do itself, as one with CAP_SYS_ADMIN.
  for _ in $(seq 100); do ! pgrep -f '/usr/bin/perl /v/loo[k]' >/dev/null || sleep 0.05; done
  [ ! -s "$T/v/mighty" ] || fail "it could have traced: $(head -3 "$T/v/mighty"): $*"
}
again() { rm -f "$T"/v/{stop,seen,written,mighty}; }

run=(gantry-run -q --insecure-options=image --cap-add SYS_PTRACE -v "$T/v:/v" -v /usr:/usr:ro)
again
uuid=$("${run[@]}" -d "oci:$T/image:v1")
the_time_of gantry run enter "$uuid" true
gantry run rm -f "$uuid" >/dev/null

# A health check comes in every few milliseconds.
again
make_image "$T/healthy" v1 '{"Cmd":["/usr/bin/perl","/v/look"],"Env":["PATH=/bin"],"Healthcheck":{"Test":["CMD","true"],"Interval":5000000}}' "$T/base"
uuid=$("${run[@]}" -d "oci:$T/healthy:v1")
the_time_of sleep 0.03
gantry run rm -f "$uuid" >/dev/null

looks() {
  make_bundle '.process.args=["/usr/bin/perl","/v/look"] | .process.capabilities |= map_values(. + ["CAP_SYS_PTRACE"]) | del(.linux.seccomp) |
    .mounts+=[{destination:"/usr",source:"/usr",options:["rbind","ro"]},{destination:"/v",source:"'"$T/v"'",options:["bind"]}]'
  mkdir "$bundle/rootfs/usr"
  ln -s usr/lib "$bundle/rootfs/lib"
  ln -s usr/lib64 "$bundle/rootfs/lib64"
}
again
looks
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
the_time_of gantry-oci --root "$T/state" exec "$c" true
oci delete --force "$c"

# The same for a container that joins the processes of another.
again
looks
oci run --detach --bundle "$bundle" "$c" </dev/null >/dev/null 2>&1
make_bundle ".process.args=[\"true\"] | .linux.namespaces |= map(if .type == \"pid\" then .path=\"/proc/$(oci state "$c" | jq .pid)/ns/pid\" else . end)"
joins() { gantry-oci --root "$T/state" run --bundle "$bundle" "$c-2"; }
expect_exit 0 joins
for _ in $(seq 200); do [ -s "$T/v/seen" ] && break; joins >/dev/null 2>&1; done
for _ in $(seq 40); do joins </dev/null >/dev/null 2>&1; done
touch "$T/v/stop"
# Here its process is one of ours until the container is made: it is seen, and cannot be written to.
[ -s "$T/v/seen" ] || fail "nothing was seen at all"
[ ! -s "$T/v/written" ] || fail "written to: $(cat "$T/v/written"): a container that joins"
oci delete --force "$c"
