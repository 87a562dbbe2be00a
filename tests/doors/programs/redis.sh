#!/bin/sh
# SPDX-License-Identifier: MIT
# redis-server under load from redis-benchmark, with snapshots, which fork.
. "$(dirname "$0")/common.sh"

need redis-server redis-server
need redis-benchmark redis-tools
socket=$work/redis.socket

ask() { redis-cli -s "$socket" "$@"; }

serve() { # label, what to preload
  rm -f "$socket" "$work/dump.rdb"
  LD_PRELOAD=$2 redis-server --unixsocket "$socket" --port 0 --dir "$work" --save '' \
    --daemonize no --io-threads 2 >"$work/server" 2>&1 &
  server_pid=$!
  wait_for "$socket"
  [ -z "$2" ] || is_in "$server_pid"
  measure "$1" redis-benchmark -s "$socket" -q -n 60000 -c 20 -P 4 -r 50000 \
    -t set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset
  ask bgsave >/dev/null
  ask eval "for i=1,200000 do redis.call('set','key:'..i,string.rep('x',i%900)) end" 0 >/dev/null
  ask eval "for i=1,200000,3 do redis.call('del','key:'..i) end" 0 >/dev/null
  while ask info persistence | grep -q 'rdb_bgsave_in_progress:1'; do sleep 0.1; done
  ask bgsave >/dev/null
  while ask info persistence | grep -q 'rdb_bgsave_in_progress:1'; do sleep 0.1; done
  ask info persistence | grep -q 'rdb_last_bgsave_status:ok' || fail "the snapshot"
  [ "$(ask strlen key:899)" = 899 ] || fail "a value is wrong"
  grep VmHWM "/proc/$server_pid/status" | sed 's/^/  the server: /'
  ask shutdown nosave || true
  wait "$server_pid" || fail "the server: $(cat "$work/server")"
  server_pid=
}
serve "without door" ''
serve "with door" "$DOOR"
