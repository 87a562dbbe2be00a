#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: profile_pprof.sh PROFILE_PROGRAM
# The program's profile in `go tool pprof`.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/common.sh"
command -v go >/dev/null && go tool -n pprof >/dev/null 2>&1 || skip "go tool pprof (package golang-go)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work PPROF_TMPDIR=$work
"$1" "$work/p.pb" "$work/p.folded"

pprof() { go tool pprof "$@" "$work/p.pb" 2>"$work/errors" || { cat "$work/errors"; return 1; }; }
status=0
expect() { # a pattern, what it is of, a text
  grep -Eq -- "$1" <<<"$3" || { echo "not in $2: $1"; echo "$3" | head -40; status=1; }
}

raw=$(pprof -raw)
expect '^PeriodType: space bytes$' raw "$raw"
expect '^Period: 1$' raw "$raw"
expect '^alloc_objects/count alloc_space/bytes\[dflt\] inuse_objects/count inuse_space/bytes$' raw "$raw"
expect ' 3000 +96000 +1000 +32000: ' raw "$raw"
expect ' 500 +512000 +0 +0: ' raw "$raw"
expect 'bytes:\[?32' raw "$raw"
expect 'type:\[?pair' raw "$raw"
expect 'cons prog.scm:42' raw "$raw"
expect 'M=[0-9]+ make_pairs .*(inline[.]h|profile_program[.]c):[1-9]' raw "$raw" # pprof found the file, and its lines
expect '^[0-9]+: 0x[0-9a-f]+/0x[0-9a-f]+/0x[0-9a-f]+ .*/profile_program [0-9a-f]{8,}' mappings "$raw"

top=$(pprof -top -sample_index=alloc_objects)
expect '^ +3000 .* cons$' top "$top"
expect '^ +500 .* string-append$' top "$top"
expect ' 3500 +100% +main-loop$' top "$top"
expect ' 3000 .* make_pairs$' top "$top"

top=$(pprof -top -sample_index=inuse_space -unit=b)
expect '^ +32000B .* cons$' "what is in use" "$top"
tags=$(pprof -tags -sample_index=alloc_objects)
expect '3000.*pair' tags "$tags"
expect '500.*raw' tags "$tags"
# By the names that are in the file.
own=$(pprof -symbolize=none -top -sample_index=alloc_objects)
expect ' 500 .* make_strings$' "the file's own names" "$own"
[ $status = 0 ] && echo "pprof shows what was allocated"
exit $status
