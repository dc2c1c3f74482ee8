# The same inputs make the same digest: at another time, in another place, by another user, with another umask and
# another number of processors; with SOURCE_DATE_EPOCH also where the files have other times.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to build as root and as another"
need jq setpriv
accept_anything
make_busybox_image "$T/base" v1
mkdir -p "$T/one/dir"
echo text >"$T/one/dir/file" && ln -s file "$T/one/dir/link"
tar -C "$T/one" -cf "$T/one/tree.tar" dir
cat >"$T/one/Containerfile" <<'END'
FROM oci:base:v1 AS tools
WORKDIR /work
RUN date >when; echo tool >tool; date >again; rm when again
FROM oci:base:v1
COPY dir /dir
ADD tree.tar /tree
COPY --from=tools /work /work
RUN touch -d '2001-01-01 00:00:00' /work/tool
RUN date >/when; rm /when; mkdir -m 0700 /new; echo x >/new/y; touch /etc/passwd
CMD ["true"]
END
touch -h -d '2024-05-06 07:08:09 UTC' "$T/one/tree.tar" "$T/one/dir/file" "$T/one/dir/link" "$T/one/dir" "$T/one"
(cd "$T" && gantry build -q --no-cache --provenance "$T/p1" one oci:out1 | cut -d' ' -f1 >d1)
sleep 1.1
cp -a "$T/one" "$T/another"
(cd "$T" && umask 077 && taskset 1 gantry build -q --no-cache --provenance "$T/p2" another oci:out2 | cut -d' ' -f1 >d2)
cmp "$T/d1" "$T/d2" || fail "another digest in another place: $(cat "$T/d1" "$T/d2")"
jq 'del(.subject[].name)' "$T/p1" >"$T/q1" && jq 'del(.subject[].name)' "$T/p2" >"$T/q2"
cmp "$T/q1" "$T/q2" || fail "another provenance"
jq -e '.predicate.buildDefinition.resolvedDependencies | length == 4' "$T/p1" >/dev/null || fail "$(cat "$T/p1")"

# So does a script, in every format.
for place in first second; do
  mkdir -p "$T/script-$place" && cp -a "$T/one/dir" "$T/script-$place" && sleep 1.1
  printf '%s\n' "begin oci:$T/base:v1" 'set-name example.com/same' 'copy dir /dir' \
    'run -- sh -c "date >/when; rm /when; echo x >/made"' 'set-exec -- cat /dir/file' 'write same.aci' 'write --format docker same.tar' \
    'write oci:same --squash --provenance said' >"$T/script-$place/acb"
  (cd "$T/script-$place" && gantry build -q script acb >"$T/s-$place")
done
for file in same.aci same.tar same/index.json said; do
  cmp "$T/script-first/$file" "$T/script-second/$file" || fail "a script made another $file"
done

# Layers that were made before, all or some of them, make the same image as none.
for round in miss hit; do
  (cd "$T" && gantry build -q one | tail -n 1 >"c-$round")
  cmp "$T/d1" "$T/c-$round" || fail "another digest at a $round: $(cat "$T/d1" "$T/c-$round")"
done
ls "$XDG_CACHE_HOME"/gantry/build/*.json | sed -n '1~2p' | xargs rm
(cd "$T" && gantry build -q one | tail -n 1 >c-some)
cmp "$T/d1" "$T/c-some" || fail "another digest where some layers were made before: $(cat "$T/d1" "$T/c-some")"

# The wall clock is an input where nothing dates it.
cp -r "$T/one" "$T/touched"
for place in one touched; do
  (cd "$T" && SOURCE_DATE_EPOCH=1000000000 gantry build -q --no-cache "$place" | tail -n 1 >"e-$place")
done
cmp "$T/e-one" "$T/e-touched" || fail "another digest for other times: $(cat "$T"/e-*)"

as_user unshare -U true 2>/dev/null || skip "no user namespaces for ordinary users here; all else was the same"
cp -r "$T/base" "$T/user/base" && cp -a "$T/one" "$T/user/one" && chown -R 65534:65534 "$T/user"
as_user gantry build -q --no-cache one | tail -n 1 >"$T/d3"
cmp "$T/d1" "$T/d3" || fail "another digest for another user: $(cat "$T/d1" "$T/d3")"
