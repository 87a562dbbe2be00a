#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: trace_speedscope.sh TRACE_PROGRAM
# speedscope opens a trace, and what a killed process left, and shows its tracks. It is looked for in
# $TARN_NODE_MODULES, and for a browser as chromium.
set -eu
program=$1
pages=${TARN_NODE_MODULES:-node_modules}/speedscope/dist/release
if [ ! -f "$pages/index.html" ]; then
  echo "skipped: no speedscope: npm install --prefix DIR speedscope, TARN_NODE_MODULES=DIR/node_modules"
  exit 77
fi
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "skipped: no chromium"
  exit 77
}
pages=$(cd "$pages" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the page's text is when it has opened the file.
show() { # FILE
  { printf 'speedscope.loadFileFromBase64("trace.json","'; base64 -w0 "$1"; printf '");'; } >"$work/load.js"
  # The sandbox needs rights that a container may not give; the page is a file of this machine.
  HOME=$work timeout 60 "$browser" --headless --no-sandbox --disable-gpu --use-gl=angle --use-angle=swiftshader \
    --user-data-dir="$work/profile" --virtual-time-budget=20000 --dump-dom \
    "file://$pages/index.html#localProfilePath=$work/load.js" 2>"$work/errors" |
    tr '\n' ' ' | sed 's/<style[^>]*>[^<]*<\/style>//g; s/<[^>]*>/ /g; s/  */ /g'
}

"$program" "$work/whole"
"$program" "$work/killed" kill 2>/dev/null && { echo "it was not killed"; exit 1; }
echo 'no trace' >"$work/broken"
for name in whole killed; do
  text=$(show "$work/$name")
  for track in collector stops 'worker &quot;a&quot;\|worker "a"'; do
    if ! printf '%s\n' "$text" | grep -q "$track"; then
      printf '%s: no track %s in what speedscope shows:\n%s\n' "$name" "$track" "$text"
      cat "$work/errors"
      exit 1
    fi
  done
  echo "$name: opened"
done
# Would this test notice?
if show "$work/broken" | grep -q 'collector'; then
  echo "speedscope opens anything"
  exit 1
fi
