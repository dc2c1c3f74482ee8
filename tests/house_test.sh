#!/usr/bin/env bash
# The house stands as DESIGN says: includes point one way, and each third-party library is seen by its owner alone, never
# in a header. Nor does a test set a trap at its end, in which its status would be lost. Prints every line that breaks it.
set -euo pipefail

# Rank of a folder; an include goes to a lower rank, or stays in its own folder.
ranks='libimage/base 1 libimage/model 2 libimage/layer 3 libimage/store 4 libimage/transport 5
  libimage/convert 6 libimage/build 6 libimage/confine 6 libsign 7 runner 8 serve 8 tools 9'

# What of other people's is included, and where it may be.
owners='^nlohmann/ ^libimage/base/json[.]cc$
  ^archive(_entry)?[.]h$ ^libimage/layer/archive[a-z_]*[.]cc$
  ^(isa-l/.*|zstd[a-z_]*[.]h|lzma[.]h|bzlib[.]h|zlib[.]h)$ ^libimage/layer/(compress|decompress|compression)[a-z_]*[.]cc$
  ^curl/ ^libimage/transport/(http[a-z_]*|url)[.]cc$
  ^openssl/ ^(libimage/base/digest|libsign/(crypto|x509|timestamp)[a-z0-9_]*|serve/client_socket)[.]cc$|^libsign/(crypto|x509)_native[.]h$
  ^cbor ^libsign/cose[.]cc$
  ^gpgme ^libsign/openpgp[a-z_]*[.]cc$
  ^sodium ^libsign/sodium[.]cc$
  ^seccomp[.]h$ ^(runner|libimage/confine)/[a-z_]*[.]cc$
  ^yaml-cpp/ ^libimage/base/yaml[.]cc$
  ^toml[+][+]/ ^libimage/base/toml[.]cc$
  ^re2/ ^libimage/base/pattern[.]cc$
  ^httplib ^serve/http_server[.]cc$
  ^CLI/ ^tools/[a-z_]*[.](h|cc)$'

# problems ROOT: one line for each include that is not allowed.
problems() (
  cd "$1"
  find libimage libsign runner serve tools -name '*.h' -o -name '*.cc' | sort |
    xargs grep -HE '^[[:space:]]*#[[:space:]]*include' /dev/null | awk -v ranks="$ranks" -v owners="$owners" '
    function folder(path) { return match(path, /^libimage\/[a-z_]+/) ? substr(path, 1, RLENGTH) : path ~ /\// ? substr(path, 1, index(path, "/") - 1) : "" }
    BEGIN { n = split(ranks, r); for (i = 1; i < n; i += 2) rank[r[i]] = r[i + 1]; m = split(owners, o) }
    { file = $0; sub(/:.*/, "", file); name = $0; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*/, "", name)
      from = folder(file); to = folder(name)
      if (!(from in rank)) print file ": in no folder of the house"
      if (to == "tests" || (to in rank && to != from && rank[to] >= rank[from])) print file ": may not include " name
      if ($0 ~ /include *"/ && !(to in rank) && to != "tests" && name !~ /[.]inc$/) print file ": not a path from the root: " name
      for (i = 1; i < m; i += 2) if (name ~ o[i] && file !~ o[i + 1]) print file ": is not the owner of " name }'
)

# traps ROOT: the same for the ends of tests, which are for at_exit of tests/support/lib.sh.
traps() (
  cd "$1"
  find tests/tools tests/support tests/bench -name '*.sh' ! -path tests/support/lib.sh | sort |
    xargs grep -nE '^[^#]*\<trap [^|]*[[:space:]](EXIT|0)([[:space:];]|$)' /dev/null | grep -v 'printf ' || true
)

# First that it sees what is wrong: six lines of this small house break a rule, one does not; and two tests do.
bad=$(mktemp -d)
trap 'rm -rf "$bad"' EXIT
mkdir -p "$bad"/{libimage/model,libsign,runner,serve,tools,tests/{tools,support,bench}}
printf '%s\n' '#include "libimage/base/json.h"' '#include "libimage/store/store.h"' '#include <nlohmann/json.hpp>' \
  '#include "tests/x.h"' '#include "near.h"' >"$bad/libimage/model/a.cc"
echo '#  include <gpgme.h>' >"$bad/libsign/openpgp.h"
echo '#include "tools/tool_main.h"' >"$bad/runner/b.h"
[ "$(problems "$bad" | wc -l)" -eq 6 ] || { problems "$bad"; echo "house_test.sh is blind" >&2; exit 1; }
printf '%s\n' "trap 'umount x; cleanup' EXIT" '  trap cleanup 0; exit' 'sh -c "trap \"exit 3\" TERM"' >"$bad/tests/tools/a.sh"
[ "$(traps "$bad" | wc -l)" -eq 2 ] || { traps "$bad"; echo "house_test.sh is blind" >&2; exit 1; }

root=${1:-$(dirname "$0")/..}
found=$(problems "$root"; traps "$root")
[ -z "$found" ] || { echo "$found"; exit 1; }
