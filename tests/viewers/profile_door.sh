#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: profile_door.sh LIBRARY PROGRAM
# Profiles of programs under the malloc door in `go tool pprof`: one whose figures are known, and
# python3 and perl as they are installed.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/common.sh"
command -v go >/dev/null && go tool -n pprof >/dev/null 2>&1 || skip "go tool pprof (package golang-go)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work PPROF_TMPDIR=$work
unset TARN_PROFILE TARN_PROFILE_RATE

profile() { # FILE RATE PROGRAM ARGUMENTS: runs it
  local file=$1 rate=$2
  shift 2
  TARN_PROFILE=$work/$file TARN_PROFILE_RATE=$rate LD_PRELOAD=$library "$@" >"$work/out"
}
top() { # FILE VALUE: lines of bytes, or of numbers, and names
  go tool pprof -symbolize=none -top -nodecount=1000 -sample_index="$2" -unit=B "$work/$1" 2>"$work/errors" ||
    { cat "$work/errors"; return 1; }
}
library=$1
status=0
wrong() { echo "$1"; status=1; }

# The share of a function: its bytes, within a tenth.
expect() { # FILE VALUE FUNCTION BYTES
  local found
  found=$(top "$1" "$2" | awk -v name="$3" '$6 == name { sub(/B$/, "", $1); print int($1) }')
  awk -v found="${found:-0}" -v wanted="$4" 'BEGIN { exit !(found >= wanted * 0.9 && found <= wanted * 1.1) }' ||
    wrong "$2 of $3: ${found:-none} rather than about $4"
}
profile c.pb 4K "$2"
expect c.pb alloc_space parse_line $((64 << 20))
expect c.pb alloc_space read_page $((32 << 20))
expect c.pb inuse_space parse_line $((8 << 20))
! top c.pb inuse_space | grep -q read_page || wrong "what the other thread freed is in use"
raw=$(go tool pprof -raw "$work/c.pb" 2>/dev/null)
grep -Eq '^Period: 4096$' <<<"$raw" || wrong "the period is not there"
grep -Eq 'parse_line .*profile_door[.]c:[1-9]' <<<"$raw" || wrong "pprof does not find lines"

# Programs of others. Their functions are those that their symbol tables name.
tried=0
if [ -x /usr/bin/python3 ]; then
  profile py.pb 64K /usr/bin/python3 -S -c '
x = [bytes(20000) for i in range(4000)]
y = [bytearray(50000) for i in range(400)]
del y'
  # 80 and 20 million bytes: most of all that it allocates.
  all=$(top py.pb alloc_space)
  grep -Eq 'PyBytes|_PyBytes|PyObject_Calloc|PyObject_Malloc|_PyObject|python3|PyByteArray' <<<"$all" ||
    wrong "python3: its functions have no names: $all"
  sum=$(awk '/^Showing nodes/ { for (i = 1; i <= NF; i++) if ($i == "of") { sub(/B$/, "", $(i + 1)); print int($(i + 1)); exit } }' <<<"$all")
  [ "${sum:-0}" -ge 90000000 ] && [ "${sum:-0}" -le 130000000 ] || wrong "python3: $sum bytes in all"
  tried=$((tried + 1))
fi
if [ -x /usr/bin/perl ]; then
  profile perl.pb 64K /usr/bin/perl -e 'my @x; push @x, "x" x 20000 for 1 .. 3000; print scalar(@x), "\n"'
  [ "$(cat "$work/out")" = 3000 ] || wrong "perl: its output"
  all=$(top perl.pb alloc_space)
  grep -Eq 'Perl_' <<<"$all" || wrong "perl: its functions have no names: $all"
  tried=$((tried + 1))
fi
[ $status = 0 ] && echo "pprof shows what was allocated under the door, and by $tried programs of others"
exit $status
