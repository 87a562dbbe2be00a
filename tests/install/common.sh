# SPDX-License-Identifier: MIT
# Read by the tests here.  From the environment, which CMakeLists.txt sets:
#   CMAKE CC NM        programs
#   SOURCE BUILD       the sources and a build of them
#   LIBDIR VERSION     CMAKE_INSTALL_LIBDIR, and the version of the project
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-2}"

fail() {
  echo "$*" >&2
  exit 1
}

skip() { # package, what is not tested
  echo "skipped: $2; needs the package $1"
  exit 77
}

quietly() { # a command whose output matters when it fails only
  "$@" >"$work/log" 2>&1 || {
    cat "$work/log"
    fail "failed: $*"
  }
}

run() { # label, program and arguments
  printf '%s: ' "$1"
  shift
  "$@"
}

install_moved() { # sets prefix, to which the build was installed and then moved
  quietly "$CMAKE" --install "$BUILD" --prefix "$work/first"
  mv "$work/first" "$work/prefix"
  prefix=$work/prefix
  PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
  export PKG_CONFIG_PATH
}
