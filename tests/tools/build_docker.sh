# What a Containerfile means is what Docker makes of it, in what its manual is short about: platforms in ARG, the owner of
# a WORKDIR and of directories above a COPY, links as sources, directories that are there, health checks with brackets.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root"
accept_anything
make_busybox_image "$T/base" v1
mkdir -p "$T/app/real" "$T/app/closed" && cd "$T/app"
echo linked >real/target && ln -s real/target link.txt && ln -s real directory && echo one >a1 && echo two >closed/inner
chmod 0700 closed
printf '*\n!a1\n!real\n!closed\n!link.txt\n!directory\nreal/hidden\n' >.dockerignore
echo hidden >real/hidden
cat >Containerfile <<END
ARG TAG
FROM --platform=\$BUILDPLATFORM oci:$T/base:\${TAG:-v1}
ARG TARGETPLATFORM TARGETARCH
ARG NAME=\$GREETING-\${NONE-nothing}
ENV SEEN=\$TARGETPLATFORM/\$TARGETARCH/\$NAME PRICE="\\\$5" COSTS=\$1
USER app
WORKDIR /home/app/work/deep
RUN touch mine
USER root
RUN <<'DONE'
  for n in 1 2; do
    # not a comment of the file
    echo "\$n \$0" >>/script
  done
DONE
RUN cat <<A >/shell && cat <<-B >>/shell
\$GREETING \\\$HOME
A
	done
B
USER app
COPY a* /single
COPY link.txt /links/
COPY dir*ory /links/tree/
COPY closed /tmp
COPY --chown=app:extra a1 /made/for/app/
HEALTHCHECK --start-interval=2s CMD [ -e /single ] || exit 1
CMD ["sh", "-c", "echo \$SEEN \$PRICE \$COSTS; cd /; stat -c '%U:%G %a %n' home/app/work home/app/work/deep single links/link.txt links/tree/target tmp made/for made/for/app/a1 2>&1; cat script shell links/link.txt tmp/inner; ls links/tree"]
END
gantry build -q --build-arg TAG=v1 . oci:made >/dev/null
gantry run -q --no-healthcheck oci:made >"$T/got"
architecture=$(image_architecture)
cat >"$T/want" <<END
linux/$architecture/$architecture/hello-nothing \$5
app:app 755 home/app/work
app:app 755 home/app/work/deep
root:root 644 single
root:root 644 links/link.txt
root:root 644 links/tree/target
root:root 1777 tmp
app:extra 755 made/for
app:extra 644 made/for/app/a1
1 /bin/sh
2 /bin/sh
hello \$HOME
done
linked
two
target
END
diff "$T/want" "$T/got" || fail "the image is not what Docker would make"
gantry inspect --config oci:made | jq -e '.config.Healthcheck == {"Test":["CMD-SHELL","[ -e /single ] || exit 1"],"StartInterval":2000000000}' \
  >/dev/null || fail "$(gantry inspect --config oci:made)"
