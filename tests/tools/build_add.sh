# ADD unpacks archives, whatever they are called and however they are compressed, over what is there; what is no archive
# is copied. What would be fetched is refused, and so is an archive that a layer cannot hold.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need bzip2 xz zstd
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
mkdir -p "$T/app" "$T/tree/etc" "$T/tree/sub" && cd "$T/app"
echo inner >"$T/tree/sub/file" && chown 1000:2000 "$T/tree/sub/file" && ln "$T/tree/sub/file" "$T/tree/sub/same"
ln -s sub/file "$T/tree/link" && echo replaced >"$T/tree/opt" && chmod 0700 "$T/tree/sub"
tar -C "$T/tree" -cf plain.tar etc sub link opt
gzip -k plain.tar && mv plain.tar.gz gz
bzip2 -k plain.tar && xz -k plain.tar && zstd -q plain.tar
echo text | gzip -n >text.gz
cat >Containerfile <<END
FROM oci:$T/base:v1
ADD plain.tar /
ADD gz /gz
ADD plain.tar.bz2 plain.tar.xz /several/
ADD plain.tar.zst text.gz /mixed/
COPY plain.tar /copied
CMD ["sh", "-c", "cat /opt /link; for d in /gz /several /mixed; do cat \$d/sub/same; stat -c '%u:%g %a %h' \$d/sub/file; done; ls /mixed; zcat /mixed/text.gz; ls /etc/passwd /copied"]
END
gantry build -q . oci:made >/dev/null
gantry run -q oci:made >"$T/got"
{
  echo replaced && echo inner
  for _ in 1 2 3; do printf '%s\n' inner '1000:2000 644 2'; done
  printf '%s\n' etc link opt sub text.gz text /copied /etc/passwd
} >"$T/want"
diff "$T/want" "$T/got" || fail "the image is not what the archives hold"
gantry build -v . 2>"$T/err" >/dev/null
[ "$(grep -c 'made before: ' "$T/err")" = 5 ] || fail "an archive was unpacked again: $(cat "$T/err")"

refuses() { # CODE PATTERN LINE: a file of that instruction
  printf 'FROM oci:%s:v1\n%s\n' "$T/base" "$3" >Refused
  expect_exit "$1" gantry build -q Refused
  expect_text "Refused: line 2: .*$2" "$T/err"
}
refuses 7 'no network' 'ADD http://127.0.0.1/x /'
refuses 7 'no network' 'ADD https://127.0.0.1/x.git#main /'
refuses 7 'no network' 'ADD git@127.0.0.1:x/y.git /'
refuses 7 'do not apply' 'ADD --chown=1:1 gz /x/'
mkdir h && echo x >h/.wh.gone && tar -cf whiteout.tar -C h .wh.gone
refuses 7 'whiteout.tar' 'ADD whiteout.tar /'
tar -cPf climbs.tar --transform 's,^,../../,' gz
refuses 5 'climbs.tar' 'ADD climbs.tar /'
head -c 4000 plain.tar | gzip -n >whole.gz && head -c -30 whole.gz >short.gz
refuses 5 'short.gz' 'ADD short.gz /'
