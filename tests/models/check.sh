#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: check.sh [short | long]
# Checks the models of this directory with spin: the good ones must be verified, for safety and for
# progress, by a search that was cut short nowhere; the broken ones must be rejected, each with the
# error that it is there for. One line each, with the states and the seconds, compiling included; two
# are looked at at a time, if there are two processors, and the lines come as they are done.
# `short`: without the slowest of the good ones, for `./run test`; `long`: larger ones instead, which
# take five minutes of processor time, and up to 1.4 GiB each.
#
# Needs spin and gcc (or $CC); exits with 77 without them, and with 1 if anything is unexpected.
set -euo pipefail
# Failures inside $(...) end the script, too.
shopt -s inherit_errexit
models=$(cd "$(dirname "$0")" && pwd)
compiler=${CC:-gcc}
memory=2000   # MiB that a search may take
depth=1000000 # steps
pack= mode=${1:-}
case $mode in
  '' | short) ;;
  long) depth=4000000 pack=-DCOLLAPSE ;;
  *) echo "usage: check.sh [short | long]" >&2; exit 2 ;;
esac

for tool in spin "$compiler"; do
  if ! command -v "$tool" >/dev/null; then
    echo "check.sh: $tool is not installed; the models are not checked (Debian: apt-get install spin gcc)" >&2
    exit 77
  fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
status=0 optimize=-O1

# Not more than two: one may take the memory above.
running=0 jobs=$(($(nproc) > 1 ? 2 : 1))
finish_one() {
  wait -n || status=1
  running=$((running - 1))
}
beside() { # a check and its arguments, in a directory and a shell of its own
  ((running < jobs)) || finish_one
  (
    cd "$(mktemp -d "$work/XXXXXX")"
    "$@"
    exit $status
  ) &
  running=$((running + 1))
}
end() {
  while ((running > 0)); do finish_one; done
  exit $status
}

# Searches a model with these defines for what the claim says, `safety` or the name of a formula,
# and leaves what the checker says in `log`. A failure to build ends the check.
search() { # model, claim, defines...
  local model=$1 claim=$2 kind=() flags=()
  shift 2
  if [ "$claim" = safety ]; then
    kind=(-DSAFETY -DNOCLAIM)
  else
    flags=(-a -f -N "$claim")
  fi
  if ! { spin "$@" -a "$models/$model.pml" && "$compiler" $optimize -w $pack -DMEMLIM=$memory \
    ${kind[@]+"${kind[@]}"} -o pan pan.c; } >log 2>&1; then
    echo "$model $*: cannot be built" >&2
    cat log >&2
    exit 1
  fi
  ./pan -m$depth ${flags[@]+"${flags[@]}"} >log 2>&1 || true # what it found is in what it says
}

report() { # what, states, seconds since, verdict
  awk -v what="$1" -v states="$2" -v from="$3" -v to="$EPOCHREALTIME" -v verdict="$4" 'BEGIN {
    printf "%-64s %9s states %6.1f s  %s\n", what, states, to - from, verdict }'
}

# A number of states that is written as 1.2e+07 becomes a whole one.
states() { awk '/states, stored/ { printf "%.0f", $1; found = 1; exit } END { if (!found) print "no" }' log; }

find_good() { # name, model, claim, defines...
  local name=$1 from=$EPOCHREALTIME verdict=verified
  shift
  search "$@"
  if grep -q 'max search depth too small' log; then
    verdict="FAILED: the search was not deep enough"
  elif grep -qE 'out of memory|memory limit|reached -DMEMLIM' log; then
    verdict="FAILED: out of memory"
  elif grep -q 'Search not completed' log; then
    verdict="FAILED: the search was not completed"
  elif ! grep -q 'errors: 0' log; then
    verdict="FAILED: $(grep -m1 '^pan' log || echo 'no result')"
  fi
  [ "$verdict" = verified ] || status=1
  report "$1 $2: $name" "$(states)" "$from" "$verdict"
}

find_broken() { # name, model, claim, the error as an extended expression, defines...
  local name=$1 model=$2 claim=$3 error=$4 from=$EPOCHREALTIME verdict
  shift 4
  local optimize=-O0 # most of the time goes to the compiler
  search "$model" "$claim" "$@"
  if grep -qE "^pan:1: $error" log; then
    verdict=rejected
  else
    verdict="FAILED: $(grep -m1 '^pan' log || echo 'no result')"
    status=1
  fi
  report "$model $claim, broken: $name" "$(states)" "$from" "$verdict"
}

good() { beside find_good "$@"; }
broken() { beside find_broken "$@"; }
slow() { # as good, but for short checks
  [ "$mode" = short ] || good "$@"
}

deadlock='invalid end state'
cycle='acceptance cycle'
# Bits of ASKS and so on: 1, 2 and 4 are the threads 0, 1 and 2.
if [ "$mode" = long ]; then
  good "three threads that do everything" stop safety -DASKS=7 -DALWAYS=4 -DBLOCKS=7 -DDETACHES=7 -DHOLDS=7
  for claim in served1 served2 returns0 returns1 attaches2; do
    good "with holds, one that detaches" stop $claim -DFAIR_LOCK -DALWAYS=4
  done
  good "two threads, two pools of one" handover safety -DBLOCKS=1 -DNO_STRANGER -DNO_PURGE
  good "two pools of two, a thread, a stranger" handover safety -DONE_THREAD -DNO_PURGE
  good "two threads" handover received -DPROGRESS -DPOOLS=1 -DBLOCKS=1 -DNO_STRANGER
  end
fi

good "three ask, one for its turn" stop safety -DASKS=7 -DALWAYS=4 -DHOLDS=2
good "with store buffers" stop safety -DSTORE_BUFFER
slow "who asks" stop served1 -DFAIR_LOCK -DALWAYS=4 -DHOLDS=0 -DDETACHES=0
good "who waits for its turn" stop served2 -DFAIR_LOCK -DALWAYS=4 -DHOLDS=0 -DDETACHES=0
good "two wait for their turns" stop served1 -DFAIR_LOCK -DALWAYS=6 -DHOLDS=0 -DDETACHES=0
good "from blocked and stopped" stop returns0 -DFAIR_LOCK -DALWAYS=4 -DHOLDS=0 -DDETACHES=0
slow "while others ask" stop attaches2 -DFAIR_LOCK -DALWAYS=4 -DHOLDS=0 -DBLOCKS=0

touched='assertion violated .*(on==|holding)'
broken "1, state read before the flag is set" stop safety "$touched" -DBROKEN=1
broken "2, flag read before the state is set" stop safety "$touched" -DBROKEN=2
broken "3, flags lowered before the GC lock goes" stop safety 'assertion violated .*asked' -DBROKEN=3
broken "4, nobody looks at owed" stop safety 'assertion violated .*overtaken' -DBROKEN=4
broken "5, serial read after the flag" stop safety "$deadlock" -DBROKEN=5
broken "6, sleepers woken before serial moves" stop safety "$deadlock" -DBROKEN=6
broken "7, attach without the lock" stop safety 'assertion violated .*on==' -DBROKEN=7
broken "8, a poll stops inside a hold" stop safety 'assertion violated .*holding' -DBROKEN=8
broken "9, nobody looks who waits" stop served2 "$cycle" -DBROKEN=9 -DFAIR_LOCK -DALWAYS=4
broken "10, a store for the exchange" stop safety 'assertion violated' -DBROKEN=10 -DSTORE_BUFFER
broken "overtaken once at most" stop safety 'assertion violated .*overtaken' -DMOST=1
broken "11, nobody looks whose turn it is" stop served1 "$cycle" -DBROKEN=11 -DFAIR_LOCK -DALWAYS=6

good "two threads, a pool of two blocks" handover safety -DPOOLS=1 -DNO_STRANGER -DNO_PURGE
slow "two threads, two pools of one" handover safety -DBLOCKS=1 -DNO_STRANGER -DNO_PURGE
slow "two threads and a stranger" handover safety -DPOOLS=1 -DOWN_ONLY -DNO_PURGE
good "a thread, a stranger, a worker" handover safety -DPOOLS=1 -DONE_THREAD -DWORKER
optimize=-O0 good "a pool of three blocks" handover safety -DPOOLS=1 -DBLOCKS=3 -DONE_THREAD -DNO_PURGE
slow "two pools, a thread, a stranger" handover received -DPROGRESS -DBLOCKS=1 -DONE_THREAD
optimize=-O0 good "two blocks, a thread, a stranger" handover received -DPROGRESS -DPOOLS=1 -DONE_THREAD

few="-DPOOLS=1 -DNO_STRANGER -DNO_PURGE"
rights='assertion violated .*heap_lock==me'
# shellcheck disable=SC2086 # several words
{
  broken "1, owner taken off after the lock" handover safety "$rights" -DBROKEN=1 $few
  broken "2, bits taken before the count" handover safety 'assertion violated .*used' -DBROKEN=2 $few
  broken "3, counted before the bits are set" handover safety 'assertion violated .*used' -DBROKEN=3 $few
  broken "4, the mailbox stays open" handover safety 'assertion violated .*box\[me\]' -DBROKEN=4 $few
  broken "5, always posted" handover safety 'assertion violated .*boxes' -DBROKEN=5 $few
  broken "6, counted off twice" handover safety 'assertion violated .*used' -DBROKEN=6 $few
  broken "7, link read late" handover safety 'assertion violated' -DBROKEN=7 -DBLOCKS=1 -DNO_STRANGER -DNO_PURGE
  broken "8, an orphan's owner not looked at" handover safety "$rights" -DBROKEN=8 $few
  broken "9, a worker's pool not parked" handover safety "$rights" -DBROKEN=9 -DPOOLS=1 -DONE_THREAD -DWORKER
  broken "no purge" handover received "$cycle" -DPROGRESS $few
}
end
