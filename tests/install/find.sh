#!/bin/sh
# SPDX-License-Identifier: MIT
# The corners of find_package: versions and ranges of them, components, and what it says when
# liburcu, pkg-config or the malloc door is not there.
. "$(dirname "$0")/common.sh"
install_moved

probe() { # arguments; what CMake says goes to $work/said
  "$CMAKE" -S "$here/probe" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$CC" "$@" >"$work/said" 2>&1
}

says() { # text; CMake may have broken the line anywhere
  tr -s '\n ' '  ' <"$work/said" | grep -qF -e "$1" || {
    cat "$work/said"
    fail "find_package does not say: $1"
  }
}

probe_fails() { # text that it says, arguments
  text=$1
  shift
  if probe "$@"; then
    fail "find_package has found what is not there: $*"
  fi
  says "$text"
}

echo "--- versions"
# The current one is 0.1.0; a change of it changes this list.
[ "$VERSION" = 0.1.0 ] || fail "the versions below are written for 0.1.0"
good='0.1 0.1.0 0.1.0...0.1.9 0.1...<0.2 0.0.5...0.3 0.1...<1'
bad='0.0 0.1.1 0.2 1 1.1 0.2...0.3 0.0...<0.1 0.0.1...0.0.9 0.1.1...0.2'
# shellcheck disable=SC2086 # lists
probe "-DTARN_PROBE_VERSIONS=$(echo $good $bad | tr ' ' ';')" || { cat "$work/said"; fail "the probe does not configure"; }
for version in $good; do says "-- $version: 1 "; done
for version in $bad; do says "-- $version: 0 "; done

echo "--- components"
probe -DTARN_PROBE_COMPONENTS='shared;static;malloc' || { cat "$work/said"; fail "not found"; }
for name in tarn tarn_static malloc; do says "there is Tarn::$name"; done
quietly "$CMAKE" --build "$work/build"
run "found in a directory" "$work/build/one/one"
run "and in its neighbour" "$work/build/two/two"
probe_fails 'no component gui: there are shared, static and malloc' \
  -DTARN_PROBE_COMPONENTS='shared;gui'
rm "$prefix/$LIBDIR"/cmake/Tarn/TarnMalloc*
probe_fails 'no component malloc: libtarn-malloc.so is not installed' \
  -DTARN_PROBE_COMPONENTS='shared;malloc'
rm -rf "$work/build"

echo "--- without liburcu, and without pkg-config"
PKG_CONFIG_LIBDIR=$prefix/$LIBDIR/pkgconfig # nothing else is found
export PKG_CONFIG_LIBDIR
probe -DTARN_PROBE_COMPONENTS=shared || { cat "$work/said"; fail "shared is not found"; }
says 'Tarn: no Tarn::tarn_static, because pkg-config does not find liburcu-bp'
quietly "$CMAKE" --build "$work/build"
run "shared, without liburcu's pkg-config file" "$work/build/one/one"
probe_fails 'no component static: pkg-config does not find liburcu-bp 0.13 or newer (Debian: liburcu-dev)' \
  -DTARN_PROBE_COMPONENTS='shared;static'
probe_fails 'no component static: there is no pkg-config' \
  -DTARN_PROBE_COMPONENTS=static -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON
if "$CMAKE" -S "$SOURCE" -B "$work/sources" >"$work/said" 2>&1; then
  fail "Tarn is configured without liburcu"
fi
says 'Tarn needs liburcu 0.13 or newer (Debian: liburcu-dev)'
echo "all corners are as they must be"
