# Mistakes that people make in a Containerfile are told with their line and what to do.
set -euo pipefail
. "$(dirname "$0")/../support/lib.sh"
need jq
accept_anything
mkdir -p "$T/tree" "$T/app" && cd "$T/app"
make_image "$T/base" v1 '{"OnBuild":["RUN x"]}' "$T/tree"
echo x >here && echo x >ignored && echo ignored >.dockerignore
tells() { # CODE PATTERN LINE...
  local code=$1 pattern=$2
  shift 2
  printf '%s\n' "$@" >Containerfile
  expect_exit "$code" gantry build -q .
  expect_text "^gantry-build: .*$pattern" "$T/err"
}
tells 3 "line 2: there is no 'there' to copy" 'FROM scratch' 'COPY there /'
tells 3 "line 2: there is no 'ignored' to copy" 'FROM scratch' 'COPY ignored /'
expect_text 'the .dockerignore leaves it out' "$T/err"
tells 3 "line 2: there is no '../../etc/passwd' to copy" 'FROM scratch' 'COPY ../../etc/passwd /'
tells 5 'line 2: COPY of several files needs a directory' 'FROM scratch' 'COPY here here /to'
tells 5 'line 2: COPY needs what to copy, and where to' 'FROM scratch' 'COPY here'
tells 7 "line 2: the instruction 'RUM' is not supported" 'FROM scratch' 'RUM x'
tells 5 'line 1: RUN before the first FROM' 'RUN x' 'FROM scratch'
tells 5 "line 1: expected 'FROM BASE' or 'FROM BASE AS NAME'" 'FROM scratch A b'
tells 5 'no FROM' '# nothing'
tells 7 'line 3: here-documents of COPY are not supported' 'FROM scratch' '# a comment' 'COPY <<END /file' 'text' 'END'
tells 5 "line 2: the here-document 'END' has no end" 'FROM scratch' 'RUN <<END' 'true'
tells 7 'line 3: ..X%y. is not supported' 'FROM scratch' 'ARG X=1' 'ENV A=${X%y}'
tells 1 'line 2: the variable X has no value: give it' 'FROM scratch' 'ENV A=${X:?give it}'
tells 5 "line 2: a quote . is not closed" 'FROM scratch' 'ENV A="x'
tells 7 "line 2: --chmod=u.x is not supported" 'FROM scratch' 'COPY --chmod=u+x here /'
tells 7 'line 1: .* has instructions for whoever builds on it' "FROM oci:$T/base:v1"
tells 5 'line 2: .* is no port' 'FROM scratch' 'EXPOSE http'
tells 6 "line 3: 'docker://127.0.0.1:1/biulder' could not be brought here" 'FROM scratch AS builder' 'FROM scratch' 'COPY --from=docker://127.0.0.1:1/biulder /x /y'
expect_text "the stages before this one are 'builder'" "$T/err"
make_image "$T/plain" v1 '{"OnBuild":null}' "$T/tree"
printf 'FROM oci:%s:v1\n' "$T/plain" >Containerfile
expect_exit 0 gantry build -q .
printf 'FROM scratch\nENTRYPOINT ["a" "b"]\n' >Containerfile
gantry build . 2>"$T/err" >/dev/null
expect_text 'line 2: ENTRYPOINT looks like JSON' "$T/err"
printf 'FROM scratch\nCOPY here /\n' >Containerfile
expect_exit 3 gantry build -q --target nothing .
expect_text "there is no stage 'nothing'" "$T/err"
expect_exit 3 gantry build -q "$T/nothing"
expect_text 'neither a verb nor a Containerfile' "$T/err"
expect_exit 3 gantry build -q "$T/tree"
expect_text 'has neither a Containerfile nor a Dockerfile' "$T/err"
gantry build --build-arg SPELT=wrong . 2>"$T/err" >/dev/null
expect_text "build-arg SPELT has no ARG that takes it" "$T/err"
