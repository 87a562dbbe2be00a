#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: node.sh SCRIPT [ARGUMENTS]
# Runs a script of this directory with Node.js.
set -eu
. "$(dirname "$0")/common.sh"
node=$(command -v node || command -v nodejs) || skip "Node.js (package nodejs)"
script=$(dirname "$0")/$1
shift
exec "$node" "$script" "$@"
