#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the Debian packages of packaging/debian in a copy of the sources below build/debian, looks at
# them with lintian, and sees whether a program can be built with them, unpacked.
# Packages: debhelper, lintian.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
for tool in dh:debhelper lintian:lintian dpkg-buildpackage:dpkg-dev; do
  command -v "${tool%:*}" >/dev/null || {
    echo "no ${tool%:*}; needs the package ${tool#*:}" >&2
    exit 1
  }
done
version=$(sed -n 's/^project(tarn VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
build=$source/build/debian
rm -rf "$build"
mkdir -p "$build/tarn-$version"

# What git knows, and what it would: no builds.
(cd "$source" && git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf - --ignore-failed-read) |
  tar xf - -C "$build/tarn-$version"
mv "$build/tarn-$version/packaging/debian" "$build/tarn-$version/debian"
cd "$build/tarn-$version"
grep -q "^tarn ($version-" debian/changelog || {
  echo "debian/changelog is not of version $version" >&2
  exit 1
}
dpkg-buildpackage -us -uc -b >"$build/log" 2>&1 || {
  tail -n 60 "$build/log"
  exit 1
}

cd "$build"
ls ./*.deb
# initial-upload-closes-no-bugs is about Debian's own list of wishes.
lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs ./*.changes

echo "--- a program that is built with the packages, unpacked"
for deb in ./*.deb; do
  case $deb in
    *-dbgsym_*) ;;
    *) dpkg-deb -x "$deb" root ;;
  esac
done
libraries=$(dirname "$(find "$build/root" -name libtarn.a)")
PKG_CONFIG_PATH=$libraries/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
cc "$source/tests/install/consumer/consumer.c" -o program $(pkg-config --cflags --libs tarn)
LD_LIBRARY_PATH=$libraries ./program
LD_PRELOAD=$libraries/libtarn-malloc.so grep -q libtarn-malloc.so /proc/self/maps
echo "the packages are good"
