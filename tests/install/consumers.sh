#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the build to a temporary prefix, moves the tree, and builds and runs a program against it:
# with find_package (shared and static) and with pkg-config (shared, static, and nothing shared).
. "$(dirname "$0")/common.sh"
install_moved

echo "--- find_package"
quietly "$CMAKE" -S "$here/consumer" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_C_COMPILER="$CC"
quietly "$CMAKE" --build "$work/cmake"
run "find_package, shared" "$work/cmake/with_shared"
run "find_package, static" "$work/cmake/with_static"

echo "--- pkg-config"
pkg-config --validate tarn
[ "$(pkg-config --modversion tarn)" = "$VERSION" ] || fail "tarn.pc is of another version"
cflags=$(pkg-config --cflags tarn)
# shellcheck disable=SC2086 # flags are words
build_program() { # output, libraries...
  output=$1
  shift
  "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror $cflags "$here/consumer/consumer.c" \
    -o "$output" "$@"
}
# shellcheck disable=SC2046
build_program "$work/shared" $(pkg-config --libs tarn) "-Wl,-rpath,$prefix/$LIBDIR"
run "pkg-config, shared" "$work/shared"
if pkg-config --libs tarn | grep urcu; then
  fail "who links libtarn.so is told to link liburcu, which it does not use"
fi
# The archive by its path, because -ltarn would find the shared library first.
# shellcheck disable=SC2046
build_program "$work/static" "$prefix/$LIBDIR/libtarn.a" \
  $(pkg-config --static --libs tarn | sed 's/-ltarn\b//')
run "pkg-config, static" "$work/static"
# shellcheck disable=SC2046
build_program "$work/all_static" -static $(pkg-config --static --libs tarn)
run "pkg-config, all static" "$work/all_static"

echo "--- who needs libtarn.so"
readelf -d "$work/shared" "$work/cmake/with_shared" | grep -c 'NEEDED.*\[libtarn\.so\.0\.1\]' |
  grep -qx 2 || fail "the shared programs do not ask for libtarn.so.0.1"
for program in "$work/cmake/with_static" "$work/static" "$work/all_static"; do
  if readelf -d "$program" | grep NEEDED.*libtarn; then
    fail "$program is linked to libtarn.so"
  fi
done

echo "--- no path of the build in the installed files"
if grep -rlF -e "$BUILD" -e "$work/first" "$prefix/$LIBDIR/cmake" "$prefix/$LIBDIR/pkgconfig"; then
  fail "the files above name the build directory or the first prefix"
fi
echo "installed tree is good"
