#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: run.sh --seconds N [NAME...]
# Runs fuzz targets for N seconds each, all or those named (fuzz_options, or options), one for each
# processor at a time, and prints one line for each: runs, seconds, and what of the code the run
# reached beyond the corpus. Builds nothing: `cmake --preset fuzz && cmake --build --preset fuzz`
# does. The corpus is copied first, and what is found is added to the copy, which goes in the end.
#
# Exit status 1: a target failed; the input that made it fail is kept in build/fuzz/findings, and
# the line says how to repeat it. 2: wrong arguments. 77: the targets are not built.
#
# FUZZ_BUILD   where they are, build/fuzz if unset
# FUZZ_KEEP    a directory where each target's corpus, grown by the run, is left as NAME
set -euo pipefail
# Failures inside $(...) end the script, too.
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
build=${FUZZ_BUILD:-$here/../../build/fuzz}
seconds='' names=()

usage() { echo "usage: run.sh --seconds N [NAME...]" >&2; exit 2; }
while (($#)); do
  case $1 in
    --seconds) (($# > 1)) || usage; seconds=$2; shift ;;
    --seconds=*) seconds=${1#*=} ;;
    -*) usage ;;
    *) names+=("fuzz_${1#fuzz_}") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage
if ((${#names[@]} == 0)); then
  for source in "$here"/fuzz_*.c; do
    names+=("$(basename "$source" .c)")
  done
fi
for name in "${names[@]}"; do
  [[ -f $here/$name.c ]] || { echo "run.sh: there is no target $name" >&2; exit 2; }
  if [[ ! -x $build/tests/fuzz/$name ]]; then
    echo "run.sh: $name is not built: cmake --preset fuzz && cmake --build --preset fuzz" >&2
    exit 77
  fi
done
build=$(cd "$build" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the target is started with, beside the time.
flags() {
  case $1 in
    # Its messages about bad options are what is tested, and would be all that one sees.
    fuzz_options) echo -max_len=400 "-dict=$here/options.dict" -close_fd_mask=2 ;;
    fuzz_files) echo -max_len=4000 "-dict=$here/files.dict" ;;
    *) echo -max_len=1200 ;;
  esac
}

# A number from the log's last line that has it: "cov: 123".
figure() {
  awk -v key="$2:" '
    { for (i = 1; i < NF; i++) if ($i == key) n = $(i + 1) }
    END { print n + 0 }' "$1"
}
# The same, when the corpus had been run and nothing else.
first_figure() {
  awk -v key="$2:" '/INITED/ { for (i = 1; i < NF; i++) if ($i == key) print $(i + 1) + 0 }' "$1"
}

report_failure() { # name, log
  local input kept
  input=$(find "$found" -type f | sort | head -n 1)
  grep -E "not so:|ERROR:|runtime error:|^tarn" "$2" | head -n 5 >&2 || tail -n 5 "$2" >&2
  if [[ -z $input ]]; then
    echo "$1: FAILED, and left no input; the end of its output:"
    tail -n 20 "$2" >&2
    return
  fi
  mkdir -p "$build/findings"
  kept=$build/findings/$1-$(basename "$input")
  cp "$input" "$kept"
  echo "$1: FAILED; the input is $kept; repeat: $build/tests/fuzz/$1 $kept"
}

# Runs one; true: nothing was found. `corpus`, `log` and `found` are its own.
try() { # name
  local name=$1 status=0
  corpus=$work/$name log=$work/$name.log found=$work/$name.found
  mkdir -p "$found"
  cp -r "$here/corpus/$name" "$corpus"
  # Halts on what UndefinedBehaviorSanitizer finds as well, by how the library is compiled.  Inputs
  # need not grow slowly: the corpus has long ones.
  # shellcheck disable=SC2046
  if ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1} \
    UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1} \
    "$build/tests/fuzz/$name" $(flags "$name") -max_total_time="$seconds" -len_control=0 \
      -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$found/" \
      "$corpus" >"$log" 2>&1; then
    awk -v name="$name" -v before="$(first_figure "$log" cov)" -v after="$(figure "$log" cov)" \
      -v features="$(figure "$log" ft)" '
      /^Done/ {
        printf "%s: %d runs in %d s (%d a second), ", name, $2, $5, $5 ? $2 / $5 : 0
        printf "%d places reached, %d more than at the start, %d features\n", after,
          after - before, features
      }
      /calls beside the model/ { print name ": " $0 }' "$log"
  else
    report_failure "$name" "$log"
    status=1
  fi
  if [[ -n ${FUZZ_KEEP:-} ]]; then
    mkdir -p "$FUZZ_KEEP/$name"
    cp -r "$corpus/." "$FUZZ_KEEP/$name/"
  fi
  return $status
}

status=0 running=0 jobs=$(nproc)
for name in "${names[@]}"; do
  if ((running == jobs)); then
    wait -n || status=1
    running=$((running - 1))
  fi
  try "$name" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || status=1
  running=$((running - 1))
done
exit $status
