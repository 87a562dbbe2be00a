#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that uses tarn/tarn.hpp, as C++11 and C++20, by g++ and clang++, and once more with the
# address and undefined behaviour sanitizers.  What must not compile does not.
. "$(dirname "$0")/common.sh"
install_moved
flags="-Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow -O2 -g -pthread -I$prefix/include"
libraries="-L$prefix/$LIBDIR -ltarn -Wl,-rpath,$prefix/$LIBDIR"

compile_use() { # compiler, standard, options
  compiler=$1 standard=$2
  shift 2
  # shellcheck disable=SC2086 # words
  quietly "$compiler" -std="$standard" $flags "$@" "$here/cxx_use.cc" -o "$work/use" $libraries
  run "$compiler -std=$standard $*" "$work/use"
}

refuse() { # compiler, statement
  printf '#include <tarn/tarn.hpp>\nvoid f(tarn::thread &t, int *a, int *b) { %s }\n' "$2" \
    >"$work/bad.cc"
  # shellcheck disable=SC2086
  if "$1" -std=c++20 -fsyntax-only $flags -Wno-unused "$work/bad.cc" 2>/dev/null; then
    fail "$1 accepts: $2"
  fi
}

done=
for compiler in g++ clang++; do
  if ! command -v $compiler >/dev/null; then
    echo "$compiler: skipped, it is not there (Debian: $(echo $compiler | sed 's/clang++/clang/'))"
    continue
  fi
  done=1
  for standard in c++11 c++20; do
    compile_use $compiler $standard
    compile_use $compiler $standard -fsanitize=address,undefined -fno-sanitize-recover=all
  done
  printf '#include <tarn/tarn.hpp>\nvoid f(tarn::thread &t, int *a) { tarn::frame<1> x(t, &a); }\n' \
    >"$work/good.cc"
  # shellcheck disable=SC2086
  quietly $compiler -std=c++20 -fsyntax-only $flags -Wno-unused "$work/good.cc"
  refuse $compiler 'tarn::frame<1> x(t, &a, &b);'
  refuse $compiler 'tarn::frame<2> x(t, &a);'
  refuse $compiler 'tarn::frame<1> x(t, a);'
  refuse $compiler 'new tarn::frame<1>(t, &a); (void)b;'
  refuse $compiler 'tarn::thread u(t);'
done
[ -n "$done" ] || skip g++ "tarn/tarn.hpp"
