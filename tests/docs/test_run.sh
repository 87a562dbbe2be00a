#!/bin/sh
# SPDX-License-Identifier: MIT
# ./run: each command has its --help, and does nothing else then; and no package is installed that is
# there, also where there is one of another architecture beside it.  From the root of the sources.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*"
  cat "$work/out" 2>/dev/null || true
  exit 1
}

# What would install, build or run something leaves a note, and fails.
for name in apt-get sudo cmake ctest; do
  printf '#!/bin/sh\necho "%s $*" >>"%s/called"\nexit 1\n' $name "$work" >"$work/$name"
done
PATH=$work:$PATH
export PATH
chmod +x "$work"/*

./run help >"$work/help"
commands=$(sed -n 's/^  \([a-z0-9]*\)\( .*\)\{0,1\}$/\1/p; /^Steps of/q' "$work/help" | sort -u)
[ "$(echo "$commands" | wc -l)" -gt 10 ] || fail "commands: $commands"
for command in $commands; do
  [ $command = scheme ] || { # whose options are those of a program
    ./run $command --help >"$work/out" 2>&1 || fail "./run $command --help"
    cmp -s "$work/help" "$work/out" || fail "./run $command --help is not the help"
  }
done
[ ! -e "$work/called" ] || fail "--help calls $(cat "$work/called")"

command -v dpkg >/dev/null || {
  echo "skipped: no Debian, so no packages are looked for"
  exit 77
}
here=$(dpkg --print-architecture)
needs() { # lines that dpkg-query prints of each package: is something to be installed?
  printf '#!/bin/sh\nprintf "%%s\\n" %s\n' "$1" >"$work/dpkg-query"
  chmod +x "$work/dpkg-query"
  rm -f "$work/called"
  ./run fuzz >"$work/out" 2>&1 && fail "./run fuzz goes on without cmake"
  grep -q apt-get "$work/called" || grep -q sudo "$work/called" || grep -q 'no right to install' "$work/out"
}
needs "'$here installed'" && fail "a package that is there is to be installed"
needs "'all installed'" && fail "a package of all architectures is to be installed"
needs "'other installed' '$here installed'" && fail "a package that is there twice is to be installed"
needs "'other installed'" || fail "a package of another architecture is taken"
needs "'$here config-files'" || fail "a package that was removed is taken"
needs '' || fail "a package that is not there is taken"
echo "each command has its help, and takes the packages that are there"
