#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: probes.sh libtarn.so SOURCES
# The library has the probes that doc/logs.md lists, all of them and no others, with so many
# arguments, and without semaphores.
set -eu
library=$1 sources=$2
. "$(dirname "$0")/common.sh"
command -v readelf >/dev/null || skip "readelf (package binutils)"
notes=$(readelf -n "$library" 2>/dev/null)
if ! printf '%s\n' "$notes" | grep -q stapsdt; then
  skip "note of a probe in the library, which was built without sys/sdt.h (package systemtap-sdt-dev)"
fi
have=$(printf '%s\n' "$notes" | awk '
  $1 == "Provider:" { tarn = $2 == "tarn" }
  tarn && $1 == "Name:" { name = $2 }
  tarn && $1 == "Location:" && $NF != "0x0000000000000000" { print name, "has a semaphore" }
  tarn && $1 == "Arguments:" { print name, NF - 1 }' | sort -u)
# In the table the arguments are divided by commas; what stands behind a semicolon is none.
told=$(sed -n '/^## Probes/,/^## /p' "$sources/doc/logs.md" | sed -n 's/^| `\([a-z_]*__[a-z]*\|phase\)` | \(.*\) |$/\1|\2/p' |
  sed 's/;.*//; s/([^)]*)//g' | awk -F'|' '{ print $1, split($2, parts, ",") }' | sort -u)
if [ "$have" != "$told" ]; then
  printf 'the library has:\n%s\ndoc/logs.md has:\n%s\n' "$have" "$told"
  exit 1
fi
printf '%s probes\n' "$(printf '%s\n' "$have" | wc -l)"
