#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: run.sh commands | static | two | stripped | installed | rebuilt | broken
#   commands   all commands: live, on a core file, in a collection and an allocation, on damage
#   static     a program that has the library inside
#   two        the malloc door beside the library
#   stripped   a library without debug information: one clear line
#   installed  the script is loaded with the library from an installed tree
#   rebuilt    the library is another one at the program's second start
#   broken     the tests above fail when the script is broken in one of several ways
# From CTest, which sets GDB, CMAKE, BUILD, SOURCE, LIBRARY, DOOR, LIBDIR, STRIP, SHARED, STATIC and
# HARDENED.
set -eu
mode=$1
if [ -z "$GDB" ] || [ "$GDB" = TARN_GDB-NOTFOUND ]; then
  echo "gdb is not installed: skipped"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
FIGURES=$work/figures CORE=$work/core
export FIGURES CORE

# What the environment says of the library is not for this program.
for name in $(env | sed -n 's/^\(TARN_[A-Z_]*\)=.*/\1/p'); do
  unset "$name"
done

# A core file has the memory in use, and not all that is reserved, which is 64 GiB and more.
ulimit -f 2000000

debug() { # arguments of gdb
  timeout 240 "$GDB" -nx -batch -ex 'set debuginfod enabled off' -ex 'set disable-randomization off' "$@"
}

debug -ex 'break main' -ex run "$STATIC" >"$work/log" 2>&1 || true
if ! grep -q '^Breakpoint 1, .* main' "$work/log"; then
  cat "$work/log"
  if grep -q -i -e ptrace -e 'Cannot create process' -e 'Operation not permitted' "$work/log"; then
    echo "gdb may not trace here: skipped"
    exit 77
  fi
  echo "gdb does not stop the program at its beginning"
  exit 1
fi

script=$SOURCE/tools/gdb/tarn.py
SCRIPT=$script
export SCRIPT
check=$SOURCE/tests/gdb/check.py
checked() { # MODE, arguments of gdb: the last lines are those that matter
  MODE=$1
  export MODE
  shift
  if debug "$@" >"$work/log" 2>&1 && grep -q '^check.py: .* passed$' "$work/log"; then
    tail -n 1 "$work/log"
  else
    cat "$work/log"
    return 1
  fi
}

# gdb leaves out what follows an unreadable page, and hardened builds have guard pages.
no_core() {
  [ "${HARDENED:-0}" = 1 ]
}

make_core() {
  checked dump -x "$script" -x "$check" --args "$SHARED" "$FIGURES"
}

case $mode in
commands)
  checked live -x "$script" -x "$check" --args "$SHARED" "$FIGURES"
  if no_core; then
    echo "no core file: a hardened build"
    exit 0
  fi
  # The figures are those of the core file again.
  make_core
  checked core -x "$script" -x "$check" "$SHARED" "$CORE"
  debug -x "$script" -ex "core-file $CORE" -ex 'tarn heap' >"$work/log" 2>&1 || true
  grep '^tarn: gdb has a core file but no program here' "$work/log" || {
    cat "$work/log"
    exit 1
  }
  ;;
static)
  checked quick -x "$script" -x "$check" --args "$STATIC" "$FIGURES"
  ;;
two)
  if [ -z "$DOOR" ]; then
    echo "no malloc door in this build: skipped"
    exit 77
  fi
  checked two -ex "set environment LD_PRELOAD $DOOR" -x "$script" -x "$check" --args "$SHARED" "$FIGURES"
  ;;
stripped)
  mkdir "$work/lib"
  "$STRIP" -o "$work/lib/$(basename "$LIBRARY")" "$LIBRARY"
  ln -s "$(basename "$LIBRARY")" "$work/lib/$(readelf -d "$LIBRARY" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')"
  checked stripped -ex "set environment LD_PRELOAD $work/lib/$(basename "$LIBRARY")" -x "$script" -x "$check" \
    --args "$SHARED" "$FIGURES"
  ;;
installed)
  "$CMAKE" --install "$BUILD" --prefix "$work/prefix" >/dev/null
  directory=$work/prefix/share/gdb/auto-load
  test -f "$directory$work/prefix/$LIBDIR/$(basename "$LIBRARY")-gdb.py"
  checked quick -ex "add-auto-load-scripts-directory $directory" -ex "add-auto-load-safe-path $directory" \
    -ex "set environment LD_LIBRARY_PATH $work/prefix/$LIBDIR" \
    -ex "set environment LD_PRELOAD $work/prefix/$LIBDIR/$(basename "$LIBRARY")" -x "$check" --args "$SHARED" "$FIGURES"
  ;;
rebuilt)
  COPY=$work/$(readelf -d "$LIBRARY" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
  export COPY
  cp "$LIBRARY" "$COPY"
  checked rebuilt -ex "set environment LD_PRELOAD $COPY" -x "$script" -x "$check" --args "$SHARED" "$FIGURES"
  ;;
broken)
  if no_core; then
    echo "no core file, in a hardened build: skipped"
    exit 77
  fi
  make_core
  checked broken -x "$script" -x "$check" "$SHARED" "$CORE"
  grep '^noticed: ' "$work/log"
  ;;
*)
  echo "usage: run.sh commands | static | two | stripped | installed | rebuilt | broken" >&2
  exit 1
  ;;
esac
