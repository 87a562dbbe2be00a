#!/bin/sh
# SPDX-License-Identifier: MIT
# test_tools.sh TOOL PROGRAM VALGRIND: PROGRAM, run under TOOL, is left in peace when it does nothing
# wrong, and each of its errors is reported where it happens.
set -u
tool=$1 program=$2 valgrind=$3
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
export TARN_ADDRESS_SPACE=1G # valgrind takes ten seconds for the usual 64 GiB

skip() {
  echo "skipped: $*"
  exit 77
}
[ -x "$program" ] || skip "no clang to build $program with"

run() { # error; its output goes to the file
  case $tool in
    address) ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 "$program" "$1" ;;
    thread) setarch -R "$program" "$1" ;;
    memcheck) "$valgrind" -q --error-exitcode=5 "$program" "$1" ;;
  esac >"$output" 2>&1
}

fail() {
  failed=1
  echo "FAILED: $*; it said:"
  cat "$output"
}

noticed() { # error, what the report says, the function that it names
  run "$1"
  if grep -q "$2" "$output" && grep -q "$3" "$output"; then
    echo "noticed: $1"
  else
    fail "$1 is not reported under $tool as $2 in $3"
  fi
}

[ "$tool" != memcheck ] || [ -n "$valgrind" ] || skip "no valgrind"
if run nothing && ! [ -s "$output" ]; then
  echo "silent: nothing"
else
  fail "the program does nothing wrong, but under $tool that is not seen"
fi

case $tool in
  address)
    noticed freed use-after-poison use_freed
    noticed collected use-after-poison use_collected
    noticed beyond use-after-poison write_beyond
    noticed beyond-large use-after-poison write_beyond_large
    noticed freed-large use-after-poison use_large_freed
    ;;
  thread)
    noticed race "data race" write_shared
    noticed race "heap block of size 24 .*allocated by" race
    ;;
  memcheck)
    noticed freed "Invalid read of size 8" use_freed
    noticed collected "Invalid read of size 8" use_collected
    noticed beyond "Invalid write of size 1" write_beyond
    noticed beyond-large "Invalid write of size 1" write_beyond_large
    noticed freed-large "Invalid read of size 1" use_large_freed
    noticed unset "uninitialised" branch_on_unset
    ;;
esac
exit $failed
