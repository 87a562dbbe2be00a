#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: pictures.sh PICTURES_PROGRAM DIRECTORY
# Draws the pictures of the documentation anew, into the directory; ./run viewers --pictures calls it.
# The machine should have nothing else to do: a trace shows it.
set -eu
program=$1 directory=$2
. "$(dirname "$0")/common.sh"
command -v pngquant >/dev/null || skip "pngquant (package pngquant)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$(dirname "$0")/node.sh" pictures.mjs "$program" "$work"
mkdir -p "$directory"
for picture in "$work"/*.png; do
  pngquant --force --strip --speed 1 --output "$directory/$(basename "$picture")" 64 "$picture"
done
ls -l "$directory"
