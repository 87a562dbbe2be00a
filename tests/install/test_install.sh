#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: test_install.sh CMAKE BUILD_DIR CC LIBDIR
# Installs the build to a temporary prefix, moves the tree, and builds and runs a program
# against it: with find_package (shared and static) and with pkg-config (shared and static).
set -eu
cmake=$1 build=$2 cc=$3 libdir=$4
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" >/dev/null
# Nothing in the tree may remember where it was installed.
mv "$work/first" "$work/prefix"
prefix=$work/prefix

run() { # label, program
  printf '%s: ' "$1"
  "$2"
}

echo "--- find_package"
"$cmake" -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
  >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/cmake" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
run "find_package, shared" "$work/cmake/with_shared"
run "find_package, static" "$work/cmake/with_static"

echo "--- pkg-config"
PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
export PKG_CONFIG_PATH
pkg-config --validate tarn
cflags=$(pkg-config --cflags tarn)
# shellcheck disable=SC2086 # flags are words
"$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror $cflags "$here/consumer.c" -o "$work/shared" \
  $(pkg-config --libs tarn) "-Wl,-rpath,$prefix/$libdir"
run "pkg-config, shared" "$work/shared"
# The archive by its path, because -ltarn would find the shared library first.
# shellcheck disable=SC2086,SC2046
"$cc" -std=c11 $cflags "$here/consumer.c" -o "$work/static" "$prefix/$libdir/libtarn.a" \
  $(pkg-config --static --libs tarn | sed 's/-ltarn\b//')
run "pkg-config, static" "$work/static"

if command -v c++ >/dev/null; then
  echo "--- C++ accepts the headers"
  printf '#include <tarn/tarn.h>\nint main() { return tarn_strerror(TARN_OK) == nullptr; }\n' \
    >"$work/user.cc"
  # shellcheck disable=SC2086,SC2046
  c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror $cflags "$work/user.cc" -o "$work/cxx" \
    $(pkg-config --libs tarn) "-Wl,-rpath,$prefix/$libdir"
  "$work/cxx"
fi

echo "--- the static programs do not need libtarn.so"
for program in "$work/cmake/with_static" "$work/static"; do
  if ldd "$program" | grep -q libtarn; then
    echo "$program is linked to libtarn.so" >&2
    exit 1
  fi
done

echo "--- no path of the build in the installed files"
if grep -rlF -e "$build" -e "$work/first" "$prefix/$libdir/cmake" "$prefix/$libdir/pkgconfig"; then
  echo "the files above name the build directory or the first prefix" >&2
  exit 1
fi
echo "installed tree is good"
