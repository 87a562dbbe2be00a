# SPDX-License-Identifier: MIT
# Sourced by the scripts here.  DOOR is the path of libtarn-malloc.so, SOURCE_DIR this repository.
# Each runs a program unchanged under the door, makes sure that the door was really there, and
# prints time and peak memory with and without it.  $work is a directory that is removed at the end,
# and what `server` started is ended.

set -eu
: "${DOOR:?the path of libtarn-malloc.so}" "${SOURCE_DIR:?the path of this repository}"
unset LD_PRELOAD
export LC_ALL=C

work=$(mktemp -d)
chmod 755 "$work"
# A copy that any user can read.
cp "$DOOR" "$work/libtarn-malloc.so"
DOOR=$work/libtarn-malloc.so
server_pid=

finish() {
  status=$?
  trap - EXIT
  stop_server
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

stop_server() {
  [ -n "$server_pid" ] || return 0
  kill "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
  server_pid=
}

skip() {
  echo "skipped: $*"
  exit 77
}

need() { # program, Debian package
  command -v "$1" >/dev/null || skip "$1 is not installed (Debian: $2)"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# The command with the door; each process of it writes what the dynamic linker loaded.
with_door() {
  LD_DEBUG=libs LD_DEBUG_OUTPUT=$work/linker LD_PRELOAD=$DOOR "$@"
}

# Did a process of this program (the end of its path) run with the door since the last call?
was_there() { # program
  found=0
  for log in "$work"/linker.*; do
    [ -e "$log" ] || continue
    if grep -q "initialize program: .*$1\$" "$log" && grep -qF "calling init: $DOOR" "$log"; then
      found=$((found + 1))
    fi
  done
  rm -f "$work"/linker.*
  [ "$found" -gt 0 ] || fail "no process of $1 had the door"
  echo "  $found processes of $1 had the door"
}

# Is the door in this running process?
is_in() { # process id
  grep -qF libtarn-malloc.so "/proc/$1/maps" || fail "process $1 does not have the door"
}

# Runs a command; what it writes goes to $work/output, which is shown when it fails.
measure() { # label, command
  label=$1
  shift
  if [ -x /usr/bin/time ]; then
    set -- /usr/bin/time -o "$work/time" -f '%e s, %M KiB at most' "$@"
  fi
  if ! "$@" >"$work/output" 2>&1; then
    tail -n 50 "$work/output" >&2
    fail "$label"
  fi
  [ ! -e "$work/time" ] || printf '  %-14s %s\n' "$label" "$(tail -n 1 "$work/time")"
}

# The same command without and with the door; both must write the same.
compare() { # command
  measure "without door" "$@"
  mv "$work/output" "$work/expected"
  measure "with door" env LD_DEBUG=libs LD_DEBUG_OUTPUT="$work/linker" LD_PRELOAD="$DOOR" "$@"
  cmp "$work/expected" "$work/output" || fail "the outputs differ"
}

wait_for() { # file
  tries=0
  while [ ! -e "$1" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "$1 does not appear"
    sleep 0.1
  done
}
