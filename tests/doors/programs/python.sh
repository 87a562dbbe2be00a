#!/bin/sh
# SPDX-License-Identifier: MIT
# Python's own tests of its collector, dictionaries, JSON, threads, lists, strings and processes.
. "$(dirname "$0")/common.sh"

python=/usr/bin/python3
[ -x $python ] || skip "$python is not installed (Debian: python3)"
$python -c 'import test.test_gc' 2>/dev/null ||
  skip "Python's tests are not installed (Debian: libpython3-testsuite)"
cd "$work"
# PYTHONMALLOC=malloc sends every object to malloc, not only what is larger than 512 bytes.
for way in default malloc; do
  echo "PYTHONMALLOC=$way"
  for label in without with; do
    preload=
    [ $label = without ] || preload=$DOOR
    measure "$label door" env PYTHONMALLOC=$way LD_DEBUG="${preload:+libs}" \
      LD_DEBUG_OUTPUT="$work/linker" LD_PRELOAD="$preload" $python -m test \
      test_gc test_dict test_json test_threading test_list test_unicode test_subprocess test_fork1
  done
  was_there 'python3\(\.[0-9]*\)*'
done
