#!/bin/sh
# SPDX-License-Identifier: MIT
# The library and its consumers with link-time optimisation, by gcc and by clang: shared, static, and
# static with a program that is compiled without.
. "$(dirname "$0")/common.sh"

lto() { # compiler, options for the linker
  echo "--- $1"
  quietly "$CMAKE" -S "$SOURCE" -B "$work/$1" -DCMAKE_C_COMPILER="$1" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON -DTARN_WERROR=ON "-DCMAKE_EXE_LINKER_FLAGS=$2" \
    "-DCMAKE_SHARED_LINKER_FLAGS=$2" -DTARN_BUILD_TESTS=OFF -DTARN_BUILD_STRESS=OFF \
    -DTARN_BUILD_BENCH=OFF -DTARN_BUILD_EXAMPLES=OFF -DCMAKE_INSTALL_LIBDIR=lib
  quietly "$CMAKE" --build "$work/$1" --target tarn tarn_static tarn_malloc
  for component in runtime development malloc; do
    quietly "$CMAKE" --install "$work/$1" --prefix "$work/$1.installed" --component $component
  done
  prefix=$work/$1.installed
  quietly "$SOURCE/cmake/check-symbols.sh" "$NM" "$prefix/lib/libtarn.so" "$work/plain.a" \
    "$SOURCE/include/tarn" "TARN_${VERSION%.*}"
  PKG_CONFIG_PATH=$prefix/lib/pkgconfig
  export PKG_CONFIG_PATH
  static="$prefix/lib/libtarn.a $(pkg-config --static --libs tarn | sed 's/-ltarn\b//')"
  # shellcheck disable=SC2086 # words
  for flags in "" -flto; do
    compile="$1 -std=c11 -O2 $flags $2 -I$prefix/include $here/headers_use.c -o $work/program"
    quietly $compile -L"$prefix/lib" -ltarn "-Wl,-rpath,$prefix/lib"
    run "shared $flags" "$work/program"
    quietly $compile $static
    run "static $flags" "$work/program"
  done
  LD_PRELOAD=$prefix/lib/libtarn-malloc.so grep -q libtarn-malloc.so /proc/self/maps ||
    fail "grep does not run with libtarn-malloc.so"
}

cp "$BUILD/libtarn.a" "$work/plain.a" # objects that any nm reads
lto gcc ''
if ! command -v clang >/dev/null; then
  echo "clang: skipped, it is not there (Debian: clang)"
elif ! command -v ld.lld >/dev/null; then
  echo "clang: skipped, there is no ld.lld for it (Debian: lld)"
else
  lto clang -fuse-ld=lld
fi
