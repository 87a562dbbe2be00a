#!/bin/sh
# SPDX-License-Identifier: MIT
# Python's own tests of its collector, dictionaries, JSON, threads, lists, strings and processes.
. "$(dirname "$0")/common.sh"

python=/usr/bin/python3
[ -x $python ] || skip "$python is not installed (Debian: python3)"
$python -c 'import test.test_gc' 2>/dev/null ||
  skip "Python's tests are not installed (Debian: libpython3-testsuite)"
cd "$work"
# As `python3 -m test`, but looks first at what is loaded: test_subprocess cannot bear LD_DEBUG.
cat >run.py <<'PYTHON'
import os, sys
loaded = 'libtarn-malloc.so' in open('/proc/self/maps').read()
if loaded != bool(os.environ.get('LD_PRELOAD')):
    sys.exit('the door is not as it was meant to be')
from test.libregrtest import main
main()
PYTHON
# PYTHONMALLOC=malloc sends every object to malloc, not only what is larger than 512 bytes.
for way in default malloc; do
  echo "PYTHONMALLOC=$way"
  for label in without with; do
    preload=
    [ $label = without ] || preload=$DOOR
    measure "$label door" env PYTHONMALLOC=$way LD_PRELOAD="$preload" $python run.py \
      test_gc test_dict test_json test_threading test_list test_unicode test_subprocess test_fork1
  done
done
