#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: abi.sh [--refresh]
# Compares the binary interface that the public headers promise with the one of tests/install/tarn.abi,
# by abidiff.  Then breaks copies of the headers in ways that it must notice.  --refresh, with SOURCE
# and CC set or not, writes the file anew: after a change that is meant, and in the same commit.
#
# It is not the library that is looked at, but one of empty functions that is made of the headers: that
# has no types that are the library's own, no paths, and nothing that depends on how a compiler
# optimises.  That the library exports these very functions is what cmake/check-symbols.sh sees to.
# Structures that only inlined code uses belong to the interface, too, and are added by name.
# Not seen: values of macros, and what inlined code does.
refresh=${1:-}
if [ "$refresh" = --refresh ]; then
  SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)} CC=${CC:-cc}
fi
. "$(dirname "$0")/common.sh"
command -v abidiff >/dev/null || skip abigail-tools "the binary interface"
baseline=$SOURCE/tests/install/tarn.abi

# The functions become definitions; ";" ends each record.
empty_functions() { # headers' directory
  echo '#include <tarn/tarn.h>' | "$CC" -E -P -I"$1" - |
    awk 'BEGIN { RS = ";"; ORS = "" }
         { body = $0 ~ /__attribute__\(\(visibility\("default"\)\)\)/ && $0 ~ /\)[ \n]*$/
           print $0 (body ? " { __builtin_trap(); }\n" : ";") }' | sed '$s/;$//'
  structures=$(cat "$1"/tarn/*.h | sed -n 's/^\(typedef \)*\(struct [a-z_]*\) {.*/\2/p' | sort -u)
  printf '__attribute__((visibility("default"))) int tarn_structures(%s) { return 0; }\n' \
    "$(echo "$structures" | awk '{ print $0 " *s" NR }' | paste -sd,)"
}

describe() { # headers' directory, output
  empty_functions "$1" >"$work/face.c"
  (cd "$work" && quietly "$CC" -std=gnu11 -w -g -O0 -fPIC -shared -fvisibility=hidden \
    -ffile-prefix-map="$work"=. -Wl,-soname,libtarn.so face.c -o face.so)
  abidw --no-architecture --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed \
    --no-parameter-names "$work/face.so" >"$2"
}

describe "$SOURCE/include" "$work/now.abi"
functions=$(grep -c '<elf-symbol name=.tarn_' "$work/now.abi")
[ "$functions" -gt 50 ] || fail "only $functions functions were found in the headers"
if [ "$refresh" = --refresh ]; then
  cp "$work/now.abi" "$baseline"
  echo "$baseline: $functions functions"
  exit 0
fi

# abidiff ends with a sum: 4 is a change, 8 one that breaks programs for certain.
compare() { abidiff --no-added-syms "$baseline" "$1" >"$work/said" 2>&1; }
compare "$work/now.abi" || {
  cat "$work/said"
  fail "the binary interface has changed; if that is meant: sh tests/install/abi.sh --refresh"
}
echo "$functions functions and their types are as in tarn.abi"

broken() { # what, status of abidiff, header, sed command
  cp -r "$SOURCE/include" "$work/include"
  sed -i "$4" "$work/include/tarn/$3"
  ! cmp -s "$SOURCE/include/tarn/$3" "$work/include/tarn/$3" || fail "$1: nothing to change was found"
  describe "$work/include" "$work/broken.abi"
  rm -r "$work/include"
  status=0
  compare "$work/broken.abi" || status=$?
  [ $status -eq "$2" ] || fail "$1: abidiff ends with $status and not with $2"
  echo "noticed: $1"
}
broken 'a public structure that has grown' 4 inspect.h '/uint64_t collections;/s/^/  uint64_t more;/'
broken 'one that only inlined code uses' 4 inline.h '/void \*free; /s/^/  void *more;/'
broken 'an argument of another type' 4 world.h '/tarn_world_set_limits(/s/size_t soft/int soft/'
broken 'an enumerator of another value' 4 base.h 's/TARN_EINVAL = 1,/TARN_EINVAL = 99,/'
broken 'a function that is gone' 12 cycles.h '/tarn_freeze(/d'
