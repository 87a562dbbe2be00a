#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs every program of group gc at a small size with each peer it was built for: it must end well,
# and all peers must give the same check.  Argument: the directory of the programs.
set -euo pipefail
programs=$1

run() { # NAME ARGUMENTS
  local name=$1 expected= check peer
  shift
  for peer in tarn bdwgc malloc; do
    [ -x "$programs/gc_${name}_$peer" ] || continue
    check=$("$programs/gc_${name}_$peer" "$@" | sed -n 's/^check //p')
    if [ -z "$check" ] || [ "$check" != "${expected:-$check}" ]; then
      printf '%s %s, %s: check "%s", not "%s"\n' "$name" "$*" "$peer" "$check" "$expected"
      exit 1
    fi
    expected=$check
  done
  printf '%s %s: %s\n' "$name" "$*" "$expected"
}

run gcbench 1 200 13
run gcbench 2 300 13
run trees 10 1
run trees 10 2
run mark tree 2 2
run mark shuffled 2 2
run mark graph 2 2
run young 2 1 3
run server 4 16 3 200
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
run cost 5 5 13 "$files"
