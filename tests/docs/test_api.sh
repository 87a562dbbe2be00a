#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: test_api.sh DIRECTORY, where the build has put the Doxyfile; from the root of the sources.
# The reference manual can be made without a warning, and has words for all that there is.
set -eu
skip() {
  echo "skipped: $*"
  exit 77
}
doxygen=$(command -v doxygen) || skip "no doxygen to make the reference manual (Debian: doxygen)"
[ -f "$1/Doxyfile" ] || skip "no doxygen when the build was configured: configure again"
tools/doc/api.sh "$doxygen" "$1"
[ -s "$1/html/index.html" ] || { echo "FAILED: no $1/html/index.html"; exit 1; }
command -v python3 >/dev/null || skip "no python3 to look at it with (Debian: python3)"
python3 tests/docs/api.py "$1/xml" include/tarn doc/api.md
