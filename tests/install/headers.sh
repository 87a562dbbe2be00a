#!/bin/sh
# SPDX-License-Identifier: MIT
# Every public header alone, twice in one file, in the oldest and the newest language, and what has
# them all in those between: with no warning from C99 to C2x and from C++11 to C++20, by gcc and clang,
# as far as they are there; without any of them nothing is tested.  Then a program that uses all that
# they inline, in each language.
. "$(dirname "$0")/common.sh"
install_moved
warnings='-Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow'
include=$prefix/include # as -I: in a system directory warnings would be lost

tested=
for compiler in gcc clang g++ clang++; do
  command -v $compiler >/dev/null || {
    echo "$compiler: skipped, it is not there (Debian: $(echo $compiler | sed 's/clang++/clang/'))"
    continue
  }
  tested="$tested $compiler"
  case $compiler in
    *++) language=c++ standards='c++11 c++14 c++17 c++20' pattern='*.h*' ;;
    *) language=c standards='c99 c11 c17 c2x' pattern='*.h' ;;
  esac
  for standard in $standards; do
    compile="$compiler -x $language -std=$standard $warnings -I$include"
    case $standard in
      c99 | c2x | c++11 | c++20) headers=$pattern ;;
      *) headers=tarn${pattern#?} ;;
    esac
    # shellcheck disable=SC2086 # words
    for path in "$include"/tarn/$headers; do
      header=tarn/$(basename "$path")
      printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
        quietly $compile -fsyntax-only - || fail "$header: $compiler -std=$standard"
    done
    # shellcheck disable=SC2086
    quietly $compile -O2 "$here/headers_use.c" -o "$work/use" -L"$prefix/$LIBDIR" -ltarn \
      "-Wl,-rpath,$prefix/$LIBDIR"
    run "$compiler -std=$standard" "$work/use"
  done
done
[ -n "$tested" ] || skip build-essential "the headers, by no compiler"
