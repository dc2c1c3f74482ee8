#!/bin/sh
# lazy_names.sh NM OBJDUMP LIBRARY EXCEPT ARCHIVE...: for libimage/base/lazy_calls.cc, the name of a shared library and
# of those of its functions that the archives call, without those that the regular expression EXCEPT matches.
set -eu
nm=$1 objdump=$2 library=$3 except=$4
shift 4
export LC_ALL=C
"$objdump" -p "$library" | awk '$1 == "SONAME" { printf "LIBRARY(\"%s\")\n", $2 }'
{
  "$nm" -D --defined-only "$library" | awk '$2 ~ /^[TWi]$/ { sub(/@.*/, "", $3); print $3 }' | sort -u
  "$nm" -u "$@" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u
} | sort | uniq -d | grep -vE "$except" | sed 's/.*/FUNCTION(&)/'
