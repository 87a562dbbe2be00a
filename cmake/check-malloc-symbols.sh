#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: check-malloc-symbols.sh NM libtarn-malloc.so malloc_names.map
# Fails unless the library exports exactly the names of the version script, all of them functions.
set -eu
nm=$1 library=$2 map=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n 's/^ *\([A-Za-z_][A-Za-z_0-9]*\);$/\1/p' "$map" | sort -u >"$work/wanted"
"$nm" -D --defined-only "$library" | awk '$2 ~ /^[TW]$/ { sub(/@.*/, "", $3); print $3 }' |
  sort -u >"$work/exported"
"$nm" -D --defined-only "$library" | awk '$2 !~ /^[TW]$/' >"$work/others"
if ! diff "$work/wanted" "$work/exported" >"$work/difference" || [ -s "$work/others" ]; then
  echo "$(basename "$library") exports other names than $(basename "$map") lists:" >&2
  cat "$work/difference" "$work/others" >&2
  exit 1
fi
echo "$(basename "$library"): $(wc -l <"$work/exported") names, exactly those of the list"
