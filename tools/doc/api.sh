#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: api.sh DOXYGEN DIRECTORY: the reference manual in DIRECTORY, where the Doxyfile is.
# Fails on any warning, and prints all of them.
set -eu
cd "$2"
rm -rf html xml
"$1" Doxyfile 2>warnings || {
  cat warnings >&2
  exit 1
}
cat warnings >&2
! [ -s warnings ]
