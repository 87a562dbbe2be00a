#!/bin/sh
# SPDX-License-Identifier: MIT
# cmake and gcc build this project with and without the door; the libraries must be the same.
. "$(dirname "$0")/common.sh"

need cmake cmake
need gcc gcc
need make make
build() {
  rm -rf "$work/build"
  cmake -S "$SOURCE_DIR" -B "$work/build" -G 'Unix Makefiles' -DCMAKE_C_COMPILER=gcc \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTARN_BUILD_TESTS=OFF -DTARN_BUILD_STRESS=OFF \
    -DTARN_BUILD_BENCH=OFF -DTARN_BUILD_EXAMPLES=OFF &&
    cmake --build "$work/build" -j 2 --target tarn
}
build_measured() { # label; the shell's own children are measured
  cat >"$work/build.sh" <<SCRIPT
set -eu
work='$work' SOURCE_DIR='$SOURCE_DIR'
$build_text
build
SCRIPT
  measure "$1" sh "$work/build.sh"
}
build_text=$(sed -n '/^build() {/,/^}/p' "$0")
build_measured "without door"
cp "$work/build/libtarn.so" "$work/expected.so"
LD_DEBUG=libs LD_DEBUG_OUTPUT=$work/linker LD_PRELOAD=$DOOR
export LD_DEBUG LD_DEBUG_OUTPUT LD_PRELOAD
build_measured "with door"
unset LD_DEBUG LD_DEBUG_OUTPUT LD_PRELOAD
cmp "$work/expected.so" "$work/build/libtarn.so" || fail "the compiler made another library"
was_there 'cc1'
