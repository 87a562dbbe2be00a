#!/bin/sh
# SPDX-License-Identifier: MIT
# PostgreSQL: initdb, then pgbench against a server that listens on a socket in a directory of ours.
. "$(dirname "$0")/common.sh"

binaries=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$binaries" ] && [ -x "$binaries/initdb" ] ||
  skip "PostgreSQL's server is not installed (Debian: postgresql)"
pgbench=$binaries/pgbench
[ -x "$pgbench" ] || pgbench=$(command -v pgbench) || skip "pgbench is not installed"

# It does not run as root.
as_user=
if [ "$(id -u)" -eq 0 ]; then
  need runuser util-linux
  user=postgres
  id $user >/dev/null 2>&1 || user=nobody
  chown "$user" "$work"
  as_user="runuser -u $user --"
fi
cd "$work"

serve() { # label, what to preload
  rm -rf "$work/data"
  measure "$1: initdb" $as_user env LD_PRELOAD="$2" "$binaries/initdb" -D "$work/data" -A trust \
    -U tester --no-sync
  $as_user env LD_PRELOAD="$2" "$binaries/postgres" -D "$work/data" -k "$work" -c fsync=off \
    -c listen_addresses= -c max_parallel_workers_per_gather=2 >"$work/server" 2>&1 &
  server_pid=$!
  wait_for "$work/.s.PGSQL.5432"
  postmaster=$(head -n 1 "$work/data/postmaster.pid")
  [ -z "$2" ] || is_in "$postmaster"
  server_pid=$postmaster
  measure "$1: load" env LD_PRELOAD="$2" "$pgbench" -h "$work" -U tester -i -s 5 -q postgres
  env LD_PRELOAD="$2" "$pgbench" -h "$work" -U tester -c 4 -j 2 -T 8 postgres >"$work/bench" 2>&1 &
  bench=$!
  sleep 2
  if [ -n "$2" ]; then
    is_in "$bench"
    backends=$(ps -o pid= --ppid "$postmaster")
    [ -n "$backends" ] || fail "there are no server processes"
    for backend in $backends; do # one that has just ended does not count
      [ ! -r "/proc/$backend/maps" ] || is_in "$backend"
    done
  fi
  wait "$bench" || fail "pgbench: $(cat "$work/bench")"
  grep -E '^(tps|number of failed)' "$work/bench" | sed "s/^/  $1: /"
  kill -INT "$postmaster" # a fast shutdown
  tries=0
  while kill -0 "$postmaster" 2>/dev/null && [ $tries -lt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  server_pid=
  grep -q 'database system is shut down' "$work/server" || fail "the end: $(cat "$work/server")"
  if grep -E 'PANIC|signal 6|signal 11|corrupt' "$work/server"; then
    fail "the server complained"
  fi
}
serve "without door" ''
serve "with door" "$DOOR"
