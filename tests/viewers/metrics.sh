#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: metrics.sh METRICS_PROGRAM
set -eu
. "$(dirname "$0")/common.sh"
# The system's own first: that is the one with the system's packages.
python=$(PATH=/usr/bin:$PATH command -v python3) || skip python3
exec "$python" "$(dirname "$0")/metrics_check.py" "$1"
