#!/bin/sh
# SPDX-License-Identifier: MIT
# Each component alone has what it must have, and all of them together what one installation has.
# Then a tree of what a program needs to run, and of what is needed to build one, in use; and the
# .pc file of an installation whose directories are given as absolute ones.
. "$(dirname "$0")/common.sh"

# What lies in a tree; its own path, which gdb wants below its directory, as PREFIX.
list() { (cd "$1" 2>/dev/null && find . ! -type d | sed "s|^\./||; s|auto-load$1|auto-load/PREFIX|" | sort) || true; }

quietly "$CMAKE" --install "$BUILD" --prefix "$work/all"
for component in runtime development malloc tools doc; do
  quietly "$CMAKE" --install "$BUILD" --prefix "$work/$component" --component $component
  list "$work/$component" >"$work/list.$component"
done
sort "$work"/list.* >"$work/parts"
list "$work/all" | diff - "$work/parts" || fail "files that are in no component, or in two of them"

expect() { # component, file names, which hold no directory's name but for LIBDIR
  component=$1
  shift
  for file in "$@"; do
    grep -qx "$file" "$work/list.$component" || fail "$component has no file $file"
  done
  echo "$component: $(wc -l <"$work/list.$component") files"
}
expect runtime "$LIBDIR/libtarn.so.0.1" "$LIBDIR/libtarn.so.$VERSION"
[ "$(wc -l <"$work/list.runtime")" -eq 2 ] || fail "more is in runtime than a program needs to run"
expect malloc "$LIBDIR/libtarn-malloc.so"
for file in "development libtarn.so.$VERSION" "malloc libtarn-malloc.so"; do
  expect "${file% *}" "share/gdb/auto-load/PREFIX/$LIBDIR/${file#* }-gdb.py"
done
expect doc 'share/man/man7/tarn\.7' 'share/doc/tarn/README\.md' 'share/doc/tarn/doc/options\.md'
for picture in "$SOURCE"/doc/pictures/*; do # which README.md shows
  expect doc "share/doc/tarn/doc/pictures/$(basename "$picture")" >"$work/log"
done
expect development "$LIBDIR/libtarn.so" "$LIBDIR/libtarn.a" "$LIBDIR/pkgconfig/tarn.pc"
for header in "$SOURCE"/include/tarn/*; do
  expect development "include/tarn/$(basename "$header")" >"$work/log"
done

echo "--- runtime and development are enough"
mkdir "$work/tree"
cp -a "$work/runtime/." "$work/development/." "$work/tree"
quietly "$CMAKE" -S "$here/consumer" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/tree" \
  -DCMAKE_C_COMPILER="$CC"
quietly "$CMAKE" --build "$work/cmake"
run "with libtarn.so of the tree" "$work/cmake/with_shared"
LD_LIBRARY_PATH=$work/runtime/$LIBDIR
export LD_LIBRARY_PATH
rm -rf "$work/tree"
run "with runtime alone" "$work/cmake/with_shared"

echo "--- directories that are given as absolute ones"
quietly "$CMAKE" -S "$SOURCE" -B "$work/absolute" -DCMAKE_C_COMPILER="$CC" \
  -DCMAKE_INSTALL_PREFIX=/opt/x -DCMAKE_INSTALL_LIBDIR=/opt/l/lib \
  -DCMAKE_INSTALL_INCLUDEDIR=/opt/h/include
flags=$(PKG_CONFIG_PATH=$work/absolute pkg-config --cflags --libs tarn)
case $flags in
  -I/opt/h/include*\ -L/opt/l/lib\ -ltarn*) ;; # between them stands what liburcu's file has
  *) fail "tarn.pc says $flags" ;;
esac
echo "components are as they must be"
