#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: check-symbols.sh NM libtarn.so libtarn.a HEADERS
# Fails when the shared library exports, or the static library defines as global, a symbol
# that does not start with tarn_; and when a function that a public header declares with TARN_API
# is not exported.
set -eu
nm=$1 shared=$2 static=$3 headers=$4

check() { # label, arguments of nm
  label=$1
  shift
  names=$("$nm" --defined-only "$@" | awk 'NF == 3 { sub(/@.*/, "", $3); print $3 }' | sort -u)
  ours=$(printf '%s\n' "$names" | grep -c '^tarn_' || true)
  # A mark that sys/sdt.h puts into each object with probes: hidden, and one in the end.
  foreign=$(printf '%s\n' "$names" | grep -v -e '^tarn_' -e '^_\.stapsdt\.base$' -e '^$' || true)
  if [ -n "$foreign" ]; then
    echo "$label: symbols that do not start with tarn_:" >&2
    printf '%s\n' "$foreign" | sed 's/^/  /' >&2
    exit 1
  fi
  if [ "$ours" -eq 0 ]; then
    echo "$label: no symbol at all that starts with tarn_" >&2
    exit 1
  fi
  echo "$label: $ours symbols, all start with tarn_"
}

check "exported by $(basename "$shared")" -D "$shared"
check "global in $(basename "$static")" -g "$static"

exported=$("$nm" -D --defined-only "$shared" | awk 'NF == 3 { print $3 }')
# A declaration may go over several lines; the name is what stands before the first parenthesis.
declared=$(cat "$headers"/*.h | tr '\n' ' ' | grep -o 'TARN_API [^(;]*(' | grep -o 'tarn_[a-z0-9_]* *($' |
  tr -d ' (' | sort -u)
missing=$(for name in $declared; do
  printf '%s\n' "$exported" | grep -qx "$name" || echo "  $name"
done)
if [ -n "$missing" ]; then
  echo "declared with TARN_API, but not exported by $(basename "$shared"):" >&2
  printf '%s\n' "$missing" >&2
  exit 1
fi
echo "$(printf '%s\n' "$declared" | wc -l) functions are declared, all are exported"
