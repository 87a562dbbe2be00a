#!/bin/sh
# SPDX-License-Identifier: MIT
# Tarn's sources in the build of another project, with FetchContent and with add_subdirectory.  There
# is no network here: FETCHCONTENT_SOURCE_DIR_TARN says where the sources are.
. "$(dirname "$0")/common.sh"

only() { # directory, lines: the files that are there, and no others
  found=$(cd "$1" && find . ! -type d | sort)
  [ "$found" = "$2" ] || fail "installed are: $found"
}

build_parent() { # way, arguments
  from=$1
  shift
  echo "--- $from"
  quietly "$CMAKE" -S "$here/subproject" -B "$work/$from" -DCMAKE_C_COMPILER="$CC" \
    -DTARN_FROM="$from" "$@"
  quietly "$CMAKE" --build "$work/$from"
  (cd "$work/$from" && ctest -N) | grep -x 'Total Tests: 2' || fail "the parent has 2 tests"
  (cd "$work/$from" && quietly ctest)
  quietly "$CMAKE" --install "$work/$from" --prefix "$work/$from.installed"
  only "$work/$from.installed" ./bin/with_static
  run "installed" "$work/$from.installed/bin/with_static"
}

build_parent fetch -DFETCHCONTENT_SOURCE_DIR_TARN="$SOURCE"
if command -v c++ >/dev/null; then
  build_parent add -DTARN_SOURCE="$SOURCE"
else
  echo "add: skipped, for there is no C++ compiler (Debian: g++)"
fi

# With find_package first, nothing is built but the parent.
install_moved
build_parent package -DCMAKE_PREFIX_PATH="$prefix" -DFETCHCONTENT_TRY_FIND_PACKAGE_MODE=ALWAYS
[ ! -d "$work/package/_deps/tarn-build" ] || fail "the installed Tarn was not taken"
echo "Tarn is a good guest"
