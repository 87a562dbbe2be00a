#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: probes_gdb.sh TRACE_PROGRAM
# gdb stops a program at a probe and reads its arguments: at its first full collection, then at the
# first two phases of that.
set -eu
program=$1
. "$(dirname "$0")/common.sh"
command -v gdb >/dev/null || skip "gdb (package gdb)"
readelf -n "$program" 2>/dev/null | grep -q stapsdt ||
  skip "note of a probe in the program, which was built without sys/sdt.h (package systemtap-sdt-dev)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
said=$(timeout 100 gdb -batch -nx -iex 'set debuginfod enabled off' \
  -ex 'break -probe-stap tarn:gc__begin if $_probe_arg1 == 2' -ex run \
  -ex 'printf "begins %d: %d %d\n", $_probe_argc, $_probe_arg0, $_probe_arg1' \
  -ex 'tbreak -probe-stap tarn:phase' -ex continue \
  -ex 'printf "phase %d: %d %s %d\n", $_probe_argc, $_probe_arg0, $_probe_arg1, $_probe_arg2 > 0' \
  -ex 'tbreak -probe-stap tarn:phase' -ex continue \
  -ex 'printf "then %d: %s\n", $_probe_arg0, $_probe_arg1' \
  -ex kill --args "$program" "$work/trace" 2>&1) || true
for line in 'begins 3: 1 2' 'phase 3: 1 stop 1' 'then 1: prepare'; do
  if ! printf '%s\n' "$said" | grep -qx "$line"; then
    printf 'no line "%s" in what gdb says:\n%s\n' "$line" "$said"
    exit 1
  fi
done
echo "gdb stops at probes"
