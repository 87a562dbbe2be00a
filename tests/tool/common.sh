# SPDX-License-Identifier: MIT
# Sourced by the tests of the command `tarn`; $TARN is its path.  `t STATUS ARGUMENTS...` runs it,
# and fails unless it ends with the status; what it wrote is in `out` and `err`.
set -euo pipefail
export LC_ALL=C
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # the command leaves its memory to its end
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*"
  echo "--- standard output"; cat out 2>/dev/null || true
  echo "--- standard error"; cat err 2>/dev/null || true
  exit 1
}

t() {
  local expected=$1 status=0
  shift
  "$TARN" "$@" >out 2>err || status=$?
  [ "$status" = "$expected" ] || fail "tarn $*: status $status instead of $expected"
}

has() { # FILE PATTERN
  grep -Eq -- "$2" "$1" || fail "no line of $1 matches: $2"
}

hasnt() {
  ! grep -Eq -- "$2" "$1" || fail "a line of $1 matches: $2"
}

# No line is longer than the columns, and nothing steers a terminal.
narrow() { # FILE COLUMNS
  awk -v most="$2" 'length($0) > most { exit 1 }' "$1" || fail "$1 has a line of more than $2 columns"
  ! grep -q $'\033' "$1" || fail "$1 has an escape code"
}
