#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: qemu.sh QEMU BUILD [SECONDS]
# Runs the unit tests and some stress programs of a build under qemu-user, and some of the unit tests
# as if pages had 64 KiB.  Fails when a test fails that tests/qemu-limits.txt does not name.  What qemu
# cannot show at all: the order of memory accesses of the other machine (it runs on this one's), what
# a kernel with other pages does (it only says that pages are large), and times.
set -eu
qemu=$1 build=$2 seconds=${3:-5}
here=$(cd "$(dirname "$0")" && pwd)
limits=$here/qemu-limits.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 known=0

reason_of() { # program, test
  awk -v program="$1" -v test="$2" '$1 == program && $2 == test { $1 = $2 = ""; print substr($0, 3) }' \
    "$limits"
}

unknown_failures() { # program; its failures, but for the known ones, which are told
  sed -n 's/^\[  FAILED  \] \([a-z_0-9]*\)$/\1/p' "$work/log" | sort -u >"$work/failures"
  while read -r test; do
    reason=$(reason_of "$1" "$test")
    if [ -n "$reason" ]; then
      echo "$1: $test: not under qemu: $reason" >&2
    else
      echo "$test"
    fi
  done <"$work/failures"
}

unit() { # program, options of qemu
  program=$1
  shift
  [ $# -eq 0 ] || program=64K:$program
  reason=$(reason_of "$program" '*')
  if [ -n "$reason" ]; then
    echo "$program: skipped under qemu: $reason"
    known=$((known + 1))
    return
  fi
  status=0
  timeout 900 "$qemu" "$@" "$build/tests/${program#64K:}" >"$work/log" 2>&1 || status=$?
  bad=$(unknown_failures "$program")
  # cmocka ends with the number of tests that failed; anything else is no orderly end.
  if [ -n "$bad" ] || { [ $status -ne 0 ] && [ $status -ne 77 ] &&
    [ "$status" -ne "$(wc -l <"$work/failures")" ]; }; then
    failed=$((failed + 1))
    cat "$work/log"
    echo "$program: FAILED with status $status: $bad"
  else
    passed=$((passed + 1))
    echo "$program: passed"
  fi
}

stress() { # program
  if timeout 900 "$qemu" "$build/stress/$1" --seconds "$seconds" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    tail -n 1 "$work/log"
  else
    failed=$((failed + 1))
    cat "$work/log"
    echo "$1: FAILED"
  fi
}

for path in "$build"/tests/test_*; do
  unit "$(basename "$path")"
done
for name in alloc collect cycles pages release roots sizes sweep threads types weak; do
  unit "test_$name" -p 65536
done
# Not those that fork: see tests/qemu-limits.txt.
for name in churn handover remote_free stops stacks sweep generations weak markers; do
  stress "stress_$name"
done
echo "$passed programs passed, $failed failed, $known skipped"
[ "$failed" -eq 0 ]
