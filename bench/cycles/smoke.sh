#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs every mode and shape of group cycles at a small size, Tarn's variants and Python's: it must
# end well, and all must give the same check.  Argument: the directory of the programs; Python is
# the one that PYTHON names, if it is set.
set -euo pipefail
programs=$1
python=()
[ -z "${PYTHON:-}" ] || python=("$PYTHON" -I "$(dirname "$0")/graphs.py")

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

compare() { # EXPECTED COMMAND...; an EXPECTED of "" is any
  local expected=$1 check
  shift
  check=$("$@" | sed -n 's/^check //p')
  [ -n "$check" ] || fail "$*: no check"
  [ "$check" = "${expected:-$check}" ] || fail "$*: check \"$check\", not \"$expected\""
  echo "$check"
}

run() { # MODE SHAPE COUNT TIMES
  local tarn=$programs/cycles_graphs expected
  expected=$(compare '' "$tarn" "$@")
  compare "$expected" "$tarn" "$@" unknown >/dev/null
  compare "$expected" "$tarn" "$@" slots >/dev/null
  compare "$expected" "$tarn" "$@" kinds >/dev/null
  compare "$expected" "$tarn" "$@" two >/dev/null
  if [ ${#python[@]} -gt 0 ]; then
    compare "$expected" "${python[@]}" "$@" >/dev/null
    compare "$expected" "${python[@]}" "$@" slots >/dev/null
  fi
  echo "$*: $expected"
}

for shape in random lists chain tree; do
  run live "$shape" 2000 2
done
run garbage rings 2000 2
run garbage random 2000 2
run young lists 2000 3
run gap random 2000 2
run memory random 2000 1
run after rings 2000 3
