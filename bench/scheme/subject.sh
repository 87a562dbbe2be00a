#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: subject.sh SCHEME PROGRAM THREADS TRACE MEASURE COMMAND
#   SCHEME   tarn or guile
#   PROGRAM  one of examples/scheme/programs, without .scm
#   THREADS  PROGRAM_THREADS
#   TRACE    plain; one: on one processor, the first that it may use; or trace: runs the program
#            a second time, for its pauses, and under perf if BENCH_PERF is not "no"
#   MEASURE  the path of scheme_measure
#   COMMAND  the path of examples/scheme's program, or of guile
# Runs the program at its size for benchmarks (or PROGRAM_SIZE), and prints a figure a line, as
# bench/subject.h has it.
#
# Guile.  It compiles what it loads, unless told otherwise, and keeps that in a cache, here one of
# our own beside MEASURE.  So each program is first run at its tiny size, which compiles it if that
# was not done yet, and must show that its procedures are compiled code: those that Guile interprets
# have no debug information under their own name, but run in code of ice-9/eval.scm, and take more
# than ten times as long.  The optimisation is the default (-O2), and so is the just-in-time
# compiler (on).  A measured run that compiles or complains has failed.
#
# What counts as collector time is the samples in the shared library, libtarn or libgc, and in
# malloc and free of libc, as a share of all, times the processor time of the run without perf;
# helper threads are in it.  malloc is in it because digits of large integers lie there on our side,
# and in the heap of libgc on the other.  Neither side has in it what is inlined into its callers
# (the short path of an allocation), nor what the library has the kernel or the rest of libc do
# for it.  A pause is what libgc calls world-stopped marking.
set -euo pipefail
shopt -s inherit_errexit
scheme=$1 program=$2 threads=$3 trace=$4 measure=$5 command=$6
here=$(cd "$(dirname "$0")" && pwd)
programs=$(cd "$here/../../examples/scheme/programs" && pwd)
# A prime, so that nothing periodic keeps step with it.
hertz=1999
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export PROGRAM_SIZE=${PROGRAM_SIZE:-bench} PROGRAM_THREADS=$threads PROGRAM_DATA=$programs/data

fail() {
  printf '%s: %s: %s\n' "$scheme" "$program" "$*" >&2
  [ ! -s "$work/err" ] || head -n 5 "$work/err" >&2
  exit 1
}

# The work of wordgraph: real texts that Debian has, or those in data.
files=()
if [ "$program" = wordgraph ] && [ -d /usr/share/common-licenses ]; then
  mapfile -t files < <(find /usr/share/common-licenses -type f | LC_ALL=C sort)
fi

compiled='(let ((compiled?
       (lambda (procedure)
         (let ((info ((@ (system vm debug) find-program-debug-info)
                      ((@ (system vm program) program-code) procedure))))
           (and info ((@ (system vm debug) program-debug-info-name) info))))))
  (exit (if (and (compiled? run) (compiled? main-program) (compiled? make-channel)) 0 3)))'

case $scheme in
  tarn)
    library=libtarn.so
    run=("$command" --load "$programs/main.scm" "$programs/$program.scm" "${files[@]}")
    ;;
  guile)
    library=libgc.so
    XDG_CACHE_HOME=$(dirname "$measure")/guile-cache
    export XDG_CACHE_HOME
    load=("$command" --r7rs -l "$programs/guile.scm" -l "$programs/main.scm")
    run=("${load[@]}" "$programs/$program.scm" "${files[@]}")
    PROGRAM_SIZE=tiny "${load[@]}" -l "$programs/$program.scm" -c "$compiled" \
      >"$work/out" 2>"$work/err" || fail "it does not run, or is not compiled"
    ;;
  *) fail "no such Scheme" ;;
esac

where=()
[ "$trace" != one ] ||
  where=(taskset -c "$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)")
"${where[@]}" "$measure" "$work/out" "$work/err" "${run[@]}" >"$work/figures" || fail "it failed"
[ ! -s "$work/err" ] || fail "a run that is measured says something"
cat "$work/figures"

figure() { sed -n "s/^$1 //p" "$work/figures"; }

# The check is of the result as text.
result=$(grep "^$program: " "$work/out") || fail "no result"
printf 'check %s\n' "$(printf '%s' "$result" | cksum | cut -d ' ' -f 1)"
sed -n 's/^time: \(.*\) ms$/run_ns \1e6/p; s/^in threads: \(.*\) ms$/threads_ns \1e6/p' "$work/out"
[ "$trace" = trace ] || exit 0

# --- the second run: pauses and samples ------------------------------------------------------

recorder=()
[ "${BENCH_PERF:-}" = no ] ||
  recorder=(perf record -q -F "$hertz" -e cpu-clock -o "$work/samples" --)
TARN_LOG=gc GC_PRINT_STATS=1 "${recorder[@]}" "${run[@]}" >"$work/out" 2>"$work/err" ||
  fail "it failed when it was traced"
[ "$result" = "$(grep "^$program: " "$work/out")" ] || fail "another result when it was traced"

# Milliseconds and, with libgc, nanoseconds after them.
case $scheme in
  tarn) pauses='s/^tarn: gc .* pause=\([0-9.]*\)ms .*/\1 0/p' ;;
  guile) pauses='s/^World-stopped marking took \([0-9]*\) ms \([0-9]*\) ns .*/\1 \2/p' ;;
esac
sed -n "$pauses" "$work/err" | awk '
  { pause = $1 * 1e6 + $2; if (pause > most) most = pause; sum += pause }
  END { if (NR) printf "pause_max_ns %d\npause_sum_ns %d\n", most, sum; printf "collections %d\n", NR }'

[ ${#recorder[@]} -gt 0 ] || exit 0
# Without the right to see the kernel, perf counts what the process does outside of it.
time=$(figure cpu_ns)
case $(perf evlist -i "$work/samples" 2>/dev/null) in
  *:*u*) time=$(figure user_ns) ;;
esac
perf report -i "$work/samples" --stdio --show-nr-samples --sort dso,sym 2>/dev/null |
  awk -v library="$library" -v time="$time" '
    /^ *[0-9.]+%/ {
      all += $2
      if (index($3, library) == 1) inside += $2
      else if ($3 ~ /^libc[.]so/ && $5 ~ /malloc|calloc|realloc|free|memalign|unlink_chunk/) inside += $2
    }
    END {
      if (inside < 1) inside = 1 # less than can be seen; a ratio needs a figure
      if (all > 0) printf "collector_ns %.0f\n", inside / all * time
    }'
