#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: test_man.sh PATH_OF_tarn.1 PATH_OF_tarn-manpage
# mandoc has nothing to say of either manual page, be it of style alone.
set -eu
command -v mandoc >/dev/null || {
  echo "skipped: the manual pages are not looked at; needs the package mandoc"
  exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

complaints() { # FILE; that each refers to the other, which need not be installed, is none
  mandoc -T lint -W all "$1" | grep -v 'referenced manual not found: Xr tarn [17]$' || true
}

printf '.Dd January 1, 2026\n.Dt BAD 1\n.Os\n.Sh NAME\n.Nm bad\n.Nd bad\n.Bl -tag\n.It Foo\n.Nosuch x\n' >"$work/bad.1"
[ -n "$(complaints "$work/bad.1")" ] || {
  echo "mandoc says nothing of a page that is bad"
  exit 1
}

cp "$1" "$work/tarn.1"
"$2" >"$work/tarn.7"
for page in tarn.1 tarn.7; do
  [ "$(wc -l <"$work/$page")" -gt 100 ] || {
    echo "$page has next to nothing"
    exit 1
  }
  complaints "$work/$page" >"$work/said"
  [ ! -s "$work/said" ] || {
    cat "$work/said"
    echo "mandoc complains of $page"
    exit 1
  }
done
echo "mandoc has nothing to say of tarn(1) and tarn(7)"
