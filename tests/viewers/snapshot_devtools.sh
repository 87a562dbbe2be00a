#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: snapshot_devtools.sh PATH_OF_snapshot_make
set -eu
node=$(command -v node) || {
  echo "skipped: no Node.js (Debian: nodejs)"
  exit 77
}
exec "$node" "$(dirname "$0")/snapshot_devtools.mjs" "$1"
