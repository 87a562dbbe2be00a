#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: fastpath.sh BENCH_FASTPATH
# Counts the instructions of the inlined paths with callgrind. Exits non-zero when one takes more
# than its bound: tarn_new 10, tarn_new_array 24, tarn_safepoint 3, a pair of tarn_alloc_raw and
# tarn_free of 32 bytes 60, with tarn_alloc_atomic 78, tarn_store in a young object 5, in an old one
# whose card is dirty 11.
#
# Each loop runs with two counts; the difference, divided by the difference of the counts, is
# the cost of one turn, and what an equal empty loop costs is subtracted.
#   inline        what the loop itself executes: the fast path
#   with refills  the same and all that it calls: what an allocation costs on average, before
#                 any collection
set -euo pipefail
# Failures inside $(...) end the script, too.
shopt -s inherit_errexit
program=$1
low=20000 high=120000
limit_new=10 limit_new_array=24 limit_safepoint=3 limit_raw=60 limit_zeroed=78
limit_store=5 limit_store_old=11
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints "SELF INCLUSIVE" instructions of loop_$1 in a run of $2 turns.
instructions() {
  local out=$work/out.$1.$2
  valgrind --tool=callgrind --callgrind-out-file="$out" "$program" "$1" "$2" \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
  awk -v wanted="loop_$1" '
    # Names are given once, as "(number) name", and by their number after that.
    function function_of(text,   number) {
      number = text
      sub(/^[a-z]*=/, "", number)
      if (match(number, /\) /)) {
        names[substr(number, 1, RSTART)] = substr(number, RSTART + 2)
        number = substr(number, 1, RSTART)
      }
      return names[number]
    }
    /^fn=/ { current = function_of($0); next }
    /^cfn=/ { function_of($0); next }
    /^calls=/ { callee = 1; next }
    /^[0-9+*-]/ {
      if (current == wanted) {
        found = 1
        all += $2
        if (!callee) self += $2
      }
      callee = 0
    }
    END {
      if (!found) exit 1
      print self, all
    }' "$out" || { echo "no function loop_$1 in the output of callgrind" >&2; return 1; }
}

# Prints "SELF INCLUSIVE" of one turn of loop_$1.
per_turn() {
  local first second
  first=$(instructions "$1" $low)
  second=$(instructions "$1" $high)
  echo "$first $second" | awk -v n=$((high - low)) '{ printf "%.4f %.4f\n", ($3-$1)/n, ($4-$2)/n }'
}

# Plain assignments, so that a failure inside ends the script.
turn=$(per_turn empty)
empty=${turn% *}
echo "empty loop: $empty instructions a turn"

status=0
check() { # loop, limit, its name
  turn=$(per_turn "$1")
  awk -v name="$3" -v self="${turn% *}" -v all="${turn#* }" -v empty="$empty" \
    -v limit="$2" 'BEGIN {
      fast = self - empty
      good = fast > 0 && fast <= limit
      printf "%s: %.2f instructions inline, %.2f with refills (at most %d inline)%s\n",
        name, fast, all - empty, limit, good ? "" : ": FAILED"
      exit !good
    }' || status=1
}

check new $limit_new tarn_new
check new_array $limit_new_array tarn_new_array
check safepoint $limit_safepoint tarn_safepoint
check raw $limit_raw "tarn_alloc_raw and tarn_free"
check zeroed $limit_zeroed "tarn_alloc_atomic and tarn_free"
check store $limit_store "tarn_store, young"
check store_old $limit_store_old "tarn_store, old"
exit $status
