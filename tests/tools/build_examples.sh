# The six examples of acbuild's repository, in their own sequences of commands: a shell calls each verb, a trap ends the
# build, and what the packages of a distribution would install comes from a package manager of the test's own. What they
# make runs on the images that it depends on.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
[ "$(id -u)" = 0 ] || skip "needs root, as the examples do"
accept_anything
make_busybox_image "$T/base" v1
mkdir "$T/work" && cd "$T/work"

# dependency NAME MANAGER: an image with a package manager that installs programs which say how they were started.
dependency() {
  mkdir -p "$T/$2/sbin"
  cat >"$T/$2/sbin/$2" <<'END'
#!/bin/sh
[ -e /var/updated ] || [ "${1#up}" != "$1" ] || [ "$1" = adv ] || { echo "no list of packages" >&2; exit 1; }
case "$1" in upd*) mkdir -p /var && : >/var/updated; exit ;; esac
for package; do
  case "$package" in apache2) program=/usr/sbin/httpd conf=/etc/apache2/httpd.conf ;; nginx) program=/usr/sbin/nginx conf=/etc/nginx.conf ;;
    nodejs) program=/usr/bin/node conf=/etc/node ;; mongodb-10gen) program=/usr/bin/mongod conf=/etc/mongodb.conf ;; *) continue ;; esac
  mkdir -p "${program%/*}" "${conf%/*}"
  printf '#!/bin/sh\necho %s "$@"; cat %s; [ ! -e "$1" ] || cat "$1"; echo "${PORT-}"\n' "$package" "$conf" >"$program"
  chmod 0755 "$program"
  echo "# $package" >>"$conf"
done
END
  chmod 0755 "$T/$2/sbin/$2"
  cp "$T/$2/sbin/$2" "$T/$2/sbin/$2-key"
  gantry build begin "oci:$T/base:v1" && gantry build copy "$T/$2/sbin" /sbin && gantry build set-name "$1"
  gantry build environment add PATH /usr/sbin:/usr/bin:/sbin:/bin
  gantry build write "${1##*/}.aci" >/dev/null && gantry build end
}
dependency example.com/alpine-sh apk
dependency example.com/ubuntu apt-get

# example NAME: the script on standard input, as the examples begin and end.
example() {
  { printf 'acbuild() { gantry build "$@"; }\nset -e\nacbuild --debug begin\ntrap "acbuild --debug end" EXIT\nacbuild --debug set-name %s\n' "example.com/$1"
    cat; printf 'acbuild --debug write --overwrite %s\n' "$1-latest-linux-$(image_architecture).aci"; } >"$1.sh"
  bash "$1.sh" >"$1.log" 2>&1 || fail "$1: $(cat "$1.log")"
  [ ! -e .gantry-build ] || fail "the build of $1 is still there"
  gantry run -q --net=host "aci:$1-latest-linux-$(image_architecture).aci" >"$T/out" 2>"$T/err" || fail "$1 does not run: $(cat "$T/err")"
}
example nginx <<'END'
acbuild --debug dep add example.com/alpine-sh
acbuild --debug run apk update
acbuild --debug run apk add nginx
acbuild --debug port add http tcp 80
acbuild --debug mount add html /usr/share/nginx/html
acbuild --debug set-exec -- /usr/sbin/nginx -g "daemon off;"
END
expect_text '^nginx -g daemon off;$' "$T/out"
echo 'the application' >app.js
example nodejs <<'END'
acbuild --debug dep add example.com/alpine-sh
acbuild --debug run -- apk update
acbuild --debug run -- apk add nodejs
acbuild --debug environment add PORT 80
acbuild --debug environment add MONGODB mongo.example.com
acbuild --debug port add http tcp 80
acbuild --debug copy app.js /var/www/app.js
acbuild --debug set-exec -- /usr/bin/node /var/www/app.js
END
[ "$(tr '\n' ' ' <"$T/out")" = 'nodejs /var/www/app.js # nodejs the application 80 ' ] || fail "nodejs: $(cat "$T/out")"
example apache-php <<'END'
acbuild --debug dep add example.com/alpine-sh
acbuild --debug run -- apk update
acbuild --debug run -- apk add php php-apache2 apache2
acbuild --debug run -- /bin/sh -c "echo 'ServerName localhost' >> /etc/apache2/httpd.conf"
acbuild --debug port add http tcp 80
acbuild --debug mount add html /var/www/localhost/htdocs
acbuild --debug set-exec -- /bin/sh -c "chmod 755 / && /usr/sbin/httpd -D FOREGROUND"
END
expect_text '^apache2 -D FOREGROUND$' "$T/out"
expect_text '^ServerName localhost$' "$T/out"
example mongodb <<'END'
acbuild --debug dep add example.com/ubuntu
acbuild --debug run --  apt-get-key adv --keyserver keys.example.com --recv 00000000
acbuild --debug run --  /bin/sh -c 'mkdir -p /etc/apt; echo "deb http://packages.example.com/ dist 10gen" | tee -a /etc/apt/list'
acbuild --debug run --  apt-get update
acbuild --debug run --  apt-get -y install mongodb-10gen
acbuild --debug port add mongo tcp 27017
acbuild --debug port add statuspage tcp 28017
acbuild --debug set-exec -- /usr/bin/mongod --config /etc/mongodb.conf
END
expect_text '^mongodb-10gen --config /etc/mongodb.conf$' "$T/out"
# A static program on nothing, with a mount point, and a flag behind the program that looks like one of ours.
cp "$(command -v busybox)" acserver && mkdir templates && echo page >templates/index
example acserver <<'END'
acbuild --debug copy acserver /bin/busybox
acbuild --debug copy templates /templates
acbuild --debug mount add acis /acis
acbuild --debug set-exec -- /bin/busybox cat -v /templates/index
END
[ "$(cat "$T/out")" = page ] || fail "acserver: $(cat "$T/out")"

# The one that is a script of acbuild's own format.
cat >apache.acb <<END
#!/usr/bin/env acbuild-script
begin

# What it is called, and what it is on
set-name example.com/apache
dep add example.com/alpine-sh

run -- apk update
run -- apk add apache2
run -- /bin/sh -c "echo 'ServerName localhost' >> /etc/apache2/httpd.conf"
port add http tcp 80
mount add html /var/www/localhost/htdocs
set-exec -- /bin/sh -c "chmod 755 / && /usr/sbin/httpd -D FOREGROUND"
write --overwrite apache-latest-linux-amd64.aci
END
gantry build script apache.acb >"$T/out" 2>&1 || fail "$(cat "$T/out")"
gantry run -q aci:apache-latest-linux-amd64.aci >"$T/out"
expect_text '^ServerName localhost$' "$T/out"
tar -xOzf apache-latest-linux-amd64.aci manifest | jq -e '.dependencies[0].imageName == "example.com/alpine-sh" and .app.ports[0].port == 80' >/dev/null ||
  fail "$(tar -xOzf apache-latest-linux-amd64.aci manifest)"
