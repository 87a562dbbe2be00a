#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `tarn run`: any program on Tarn's malloc, as if it ran by itself.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
unset TARN_MALLOC_LIBRARY LD_PRELOAD
[ -n "${DOOR-}" ] || { echo "no malloc door in this build"; exit 77; }

# It runs on it, with its arguments, output and status.
t 7 run sh -c 'echo out "$1"; echo err >&2; exit 7' - 'a b'
[ "$(cat out)" = 'out a b' ] || fail "its output"
has err '^err$'
has err '^tarn: [0-9.]+(us|ms|s), processor .* resident at most [0-9.]+[KM]$'
narrow err 80
t 0 run --quiet sh -c 'grep -c libtarn-malloc.so /proc/self/maps; echo "${TARN_LIVE-none}"'
[ "$(tail -1 out)" = none ] || fail "quiet, but TARN_LIVE is set"
[ "$(head -1 out)" -ge 1 ] || fail "the library is not there"
[ ! -s err ] || fail "quiet, but there is a line"
t 0 run sh -c 'echo "$TARN_LIVE"; exec true' --once
has out '^1$'
t 0 run -- sh -c 'exit 0'

# What is preloaded already stays.
LD_PRELOAD=libc.so.6 t 0 run --quiet sh -c 'echo "$LD_PRELOAD"'
has out 'libtarn-malloc\.so:libc\.so\.6$'

# Figures of the heap: 16 MiB that are there at the end.
t 0 run "$HOLDER" 16 1
has err '^tarn: malloc: heap at most (1[6-9]|2[0-4])\.[0-9]M, at the end used 1[6-9]\.[0-9]M$'
narrow err 80
t 0 run --stats "$HOLDER" 16 1
has err '^world 0 \(malloc\)$'
has err '^heap +'
has err '^threads +1 that allocate$'
has err '^ +4096 +[0-9]+ +4[0-9]{3} '
narrow err 80

# Signals, and ends by them.
t 143 run sh -c 'kill -TERM $$'
t 137 run sh -c 'kill -KILL $$'
t 134 run sh -c 'ulimit -c 0; kill -ABRT $$'
"$TARN" run --quiet sh -c 'trap "echo got it; exit 5" TERM; echo ready; while :; do sleep 0.05; done' >out 2>err &
runner=$!
for ((i = 0; i < 200; i++)); do grep -q ready out && break; sleep 0.05; done
kill -TERM "$runner"
status=0
wait "$runner" || status=$?
[ "$status" = 5 ] || fail "the signal was not passed on: status $status"
has out 'got it'

# What cannot be run.
t 127 run ./nothing
has err '^tarn: \./nothing: No such file'
t 127 run -- --help # no option, but a program of that name
has err '^tarn: --help: No such file'
t 126 run /
has err '^tarn: /: Permission denied'
t 2 run
has err 'a program is needed'
t 2 run --nonsense true
TARN_MALLOC_LIBRARY=/no/where t 1 run true
has err '^tarn: TARN_MALLOC_LIBRARY: /no/where: No such file'
mkdir alone 'with blank'
cp "$TARN" alone/tarn
status=0
alone/tarn run true >out 2>err || status=$?
[ "$status" = 1 ] || fail "status $status without a library"
has err 'TARN_MALLOC_LIBRARY can name it'
TARN_MALLOC_LIBRARY=$DOOR alone/tarn run --quiet true 2>err || fail "a library that is named"
[ ! -s err ] || fail "the library takes its own path for an option"
cp "$DOOR" 'with blank/'
TARN_MALLOC_LIBRARY='with blank/libtarn-malloc.so' t 1 run true
has err 'no path with a blank'

# Installed.
mkdir -p place/bin place/lib
cp "$TARN" place/bin/ && cp "$DOOR" place/lib/
place/bin/tarn run --quiet sh -c 'grep -q place/lib/libtarn-malloc.so /proc/self/maps' || fail "installed"

# Its threads; and that it shows itself keeps no process whose threads have all ended.
t 0 run --stats "$HOLDER" 1 1 2
has err '^threads +[1-3] that allocate$'
has err '^ +thread name +pools +in use +of pools$'
narrow err 80
t 0 run timeout -s KILL 20 "$ENDS"
has err '^tarn: malloc: heap at most '

# Not a terminal: no view, but that is no error; on one there is a line, which goes.
t 0 run --live --quiet sleep 1
[ ! -s err ] || fail "a view, but no terminal"
if command -v script >/dev/null && [ -w /dev/shm ]; then
  script -qec "$TARN run --live $HOLDER 4 3" /dev/null >out </dev/null
  has out 'tarn: heap [0-9.]+M, in use [0-9.]+M'
fi

# A program with threads and children.
t 0 run --quiet sh -c 'for i in 1 2 3 4 5; do (sh -c "echo \$((1 + $i))") & done; wait'
[ "$(wc -l <out)" = 5 ] || fail "children"
