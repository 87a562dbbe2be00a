#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: smoke.sh MEASURE SCHEME
# Runs a program of one thread and two of several at their tiny size as group scheme does, on ours
# and on the Guile that GUILE names, if it is set: they must give the same check, whatever the
# number of threads is.
set -euo pipefail
shopt -s inherit_errexit
measure=$1 scheme=$2
here=$(dirname "$0")
export PROGRAM_SIZE=tiny BENCH_PERF=no

check_of() { # SCHEME PROGRAM THREADS COMMAND
  "$here/subject.sh" "$1" "$2" "$3" trace "$measure" "$4" | sed -n 's/^check //p'
}

for program in gcbench partrees parwords; do
  expected=$(check_of tarn "$program" 2 "$scheme")
  others=("$(check_of tarn "$program" 1 "$scheme")")
  [ -z "${GUILE:-}" ] || others+=("$(check_of guile "$program" 2 "$GUILE")")
  for check in "${others[@]}"; do
    if [ -z "$check" ] || [ "$check" != "$expected" ]; then
      printf '%s: check "%s", not "%s"\n' "$program" "$check" "$expected" >&2
      exit 1
    fi
  done
  echo "$program: $expected"
done
