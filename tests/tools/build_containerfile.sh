# A Containerfile: stages, variables, .dockerignore, owners; layers that were made before are not made again.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
mkdir -p "$T/app/src" && cd "$T/app"
echo one >src/a.txt && echo two >src/b.txt && echo log >src/c.log && echo secret >secret
printf '*.md\n**/*.log\nsecret\n' >.dockerignore
cat >Containerfile <<END
ARG BASE=oci:$T/base
FROM \${BASE}:v1 AS build
ARG MODE=debug
WORKDIR /src
COPY src/*.txt ./
RUN cat a.txt b.txt >all && echo \$MODE >>all && chown 1000:1000 all

FROM oci:$T/base:v1
ENV GREETING="hello world" OTHER=\${MODE:-none}
LABEL org.example.made=yes
COPY --from=build --chmod=0640 /src/all /app/
COPY --chown=app:extra . /files/
USER app
EXPOSE 80 443/udp
VOLUME ["/data"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1m30s --retries=2 CMD true
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /app/all; stat -c '%u:%g %a' /app/all /files/src/a.txt; ls /files /files/src; echo \$GREETING \$OTHER"]
END
gantry build --build-arg MODE=fast . oci:../made:v1 2>"$T/err" >"$T/first"
expect_text '^gantry: |^1/' "$T/err"
gantry run -q oci:../made:v1 >"$T/got"
printf '%s\n' one two fast '1000:1000 640' '1000:2000 644' /files: Containerfile src '' /files/src: a.txt b.txt 'hello world none' >"$T/want"
diff "$T/want" "$T/got" || fail "the image is not what the file says"
gantry build -v --build-arg MODE=fast . 2>"$T/err" >"$T/again"
[ "$(grep -c 'made before: ' "$T/err")" = 5 ] || fail "$(cat "$T/err")"
[ "$(cut -d' ' -f1 "$T/first")" = "$(cat "$T/again")" ] || fail "another digest: $(cat "$T/first" "$T/again")"
echo changed >src/a.txt
gantry build -v --build-arg MODE=fast . 2>"$T/err" >"$T/other"
! cmp -s "$T/again" "$T/other" || fail "a changed file made the same image"
manifest=$T/made/blobs/sha256/$(jq -r '.manifests[0].digest' "$T/made/index.json" | cut -d: -f2)
config=$T/made/blobs/sha256/$(jq -r .config.digest "$manifest" | cut -d: -f2)
jq -e '.config.Healthcheck.Interval == 90000000000 and .config.StopSignal == "SIGQUIT" and (.config.ExposedPorts | keys) == ["443/udp","80/tcp","8080/tcp"]' \
  "$config" >/dev/null || fail "$(cat "$config")"
