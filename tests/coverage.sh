#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: coverage.sh
# How much of lib/ runs under the tests. Builds the presets below with counters, runs the unit and
# door tests and each stress program for two seconds, and prints lines and outcomes of conditions for
# each file, of all builds together. What was not reached is listed in build/coverage/missed.txt.
# doc/coverage.md says what is counted and what is left.
#
# Exit status 1: a program failed, or less is reached than the bounds. 2: a tool is missing.
#
# COVERAGE_PRESETS   others than those below
# COVERAGE_ATOMIC=1  counters that threads cannot spoil, which takes ten times as long
set -euo pipefail
shopt -s inherit_errexit
lines_at_least=97
outcomes_at_least=90
read -ra presets <<<"${COVERAGE_PRESETS:-coverage coverage-hardened}"
tree=$(cd "$(dirname "$0")/.." && pwd)
jobs=$(nproc)
cd "$tree"

die() { printf 'coverage: %s\n' "$*" >&2; exit 2; }

tool() { # NAME; the one of clang's version, which alone can read what it writes
  local version path
  version=$(clang -dumpversion)
  for path in "$1-${version%%.*}" "$1"; do
    command -v "$path" && return
  done
  die "needs $1 (Debian: llvm-${version%%.*})"
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)
command -v python3 >/dev/null || die "needs python3"

# A file for each process and each library in it. They count in a mapping of
# that file (%c): what ran before an abort or an _exit is there.
profiles() { echo "$tree/build/$1/profiles"; }

# Two tests wait for pages to go back, on a clock that this build is too slow for. The symbols of this
# build are more than the library's.
run_tests() { # PRESET
  (cd "build/$1" && LLVM_PROFILE_FILE=$(profiles "$1")/%p-%m%c.profraw \
    ctest --output-on-failure --timeout 600 -j "$jobs" -L 'unit|door' \
    -E '^(unit\.symbols|door\.symbols|door\.idle\.(preloaded|linked))$')
}

run_stress() { # PRESET
  local program status=0
  for program in "build/$1"/stress/stress_*; do
    [[ -f $program && -x $program ]] || continue
    LLVM_PROFILE_FILE=$(profiles "$1")/%p-%m%c.profraw timeout --signal KILL 120 \
      "$program" --seconds 2 --seed 1 || { echo "coverage: $program failed ($?)" >&2; status=1; }
  done
  return $status
}

export_counts() { # PRESET
  local objects=() object
  for object in "build/$1"/tests/test_* "build/$1"/stress/stress_* "build/$1/libtarn-malloc.so"; do
    [[ -f $object && -x $object ]] && objects+=(-object "$object")
  done
  "$profdata" merge -o "build/$1/merged" "$(profiles "$1")"/*.profraw
  # The first program goes without -object.
  for format in lcov text; do
    "$cov" export -format="$format" -instr-profile "build/$1/merged" "${objects[@]:1}" \
      >"build/$1/counts.$([[ $format == text ]] && echo json || echo info)"
  done
}

status=0 exports=()
for preset in "${presets[@]}"; do
  cmake --preset "$preset" -DTARN_COVERAGE_ATOMIC="${COVERAGE_ATOMIC:-OFF}"
  cmake --build --preset "$preset" -j "$jobs"
  rm -rf "$(profiles "$preset")"
  mkdir -p "$(profiles "$preset")"
  run_tests "$preset" || status=1
  run_stress "$preset" || status=1
  export_counts "$preset"
  exports+=("build/$preset/counts")
done
python3 tests/coverage.py "$tree/lib" build/coverage/missed.txt "${exports[@]}" \
  --at-least $lines_at_least $outcomes_at_least || status=1
echo "what was not reached: build/coverage/missed.txt"
exit $status
