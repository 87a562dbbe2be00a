#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `tarn top` and `tarn snapshot`: programs that show themselves, and all the others.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ -w /dev/shm ] || { echo "no /dev/shm"; exit 77; }
unset XDG_RUNTIME_DIR

subject=
page_of() { # PROCESS [WORLD [PROCESS WHOSE PID NAMESPACE IT IS]]
  echo "/dev/shm/tarn-$(id -u)-$1-${2-1}-$(stat -Lc %i "/proc/${3-self}/ns/pid")"
}
start() { # PROGRAM ARGUMENT...: starts it, and waits until it says "ready"
  mkfifo ready input
  TARN_LIVE=${LIVE-1} "$@" <input >ready 2>subject.err &
  subject=$!
  exec 7>input
  read -r _ <ready
  rm ready input
}
begin() { # HOW: starts the subject, and waits until its page, if any, shows something
  start "$SUBJECT" "$1" 60
  if [ "${LIVE-1}" = 1 ]; then until_so "$TARN" top --once "$subject"; fi
}
until_so() { # COMMAND...: it succeeds, in the end
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    if "$@" >until.out 2>&1; then return; fi
    sleep 0.1
  done
  cat until.out
  fail "not so after 20 s: $*"
}
finish() { # lets it end by itself
  exec 7>&-
  wait "$subject" || fail "the subject ends with status $?: $(cat subject.err)"
  subject=
}
trap '[ -z "$subject" ] || kill -9 "$subject" 2>/dev/null || true; rm -rf "$work"' EXIT

# What it shows.
begin collects
t 0 top --once "$subject"
narrow out 80
has out "^process $subject .*, world 1$"
has out '^heap +[0-9.]+K, at most'
has out '^gc +[0-9]+ \(generation 0: 0, 1: 0, 2: [0-9]+\)'
has out '^stops +[0-9]+; to safepoint: median'
has out 'asked +[0-9.]+(us|ms) '
has out ' (running|blocked|stopped) '
has out '^ +16 +[1-9] '
t 0 top --count 3 --interval 500 "$subject"
narrow out 80
[ "$(wc -l <out)" = 4 ] || fail "not three looks and a heading"
awk 'NR == 2 { first = $6 } NR == 4 { last = $6 } END { exit !(last > first && first > 0) }' out ||
  fail "the number of collections does not rise"
t 0 top
has out "^ +$subject "

# A snapshot, and what grew until the next one.
t 0 snapshot "$subject" one
has out "^$PWD/one: [0-9]{4,} objects, [0-9.]+K, the program was stopped for "
sleep 0.3
t 0 snapshot "$subject"
has out "^$PWD/tarn-$subject-1-1.heapsnapshot: "
t 0 snapshot "$subject"
has out "^$PWD/tarn-$subject-1-2.heapsnapshot: "
t 0 diff one "tarn-$subject-1-2.heapsnapshot"
sed -n 3p out | grep -Eq '^ +[0-9]+ +[0-9]+ +\+[0-9]+00 .* node$' || fail "the list did not grow"
has out 'node\.slot 1 \([0-9]+ times\) -> node$'
t 1 snapshot "$subject" no/where
has err "^tarn: no snapshot in $PWD/no/where: No such file or directory$"
t 1 snapshot --world 2 "$subject" two
has err 'has no world 2'
t 1 snapshot "$subject" "$(printf 'x%.0s' {1..1100})"
has err 'too long'

# One at a time.
page=$(page_of "$subject")
exec 8<"$page"
flock -n 8 || fail "the page is locked"
t 1 snapshot "$subject" three
has err 'is writing another snapshot'
exec 8<&-

# On a terminal: drawn, and ended by q, by the program's end; as narrow as it is.
if command -v script >/dev/null; then
  TERM=xterm NO_COLOR=1 script -qec "stty cols 50 rows 20; $TARN top --interval 50 --count 3 $subject" \
    /dev/null >out </dev/null
  has out $'\033\\[H'
  hasnt out $'\033\\[1m'
  tr -d '\r' <out | sed $'s/\033\\[[0-9]*[A-Z]//g' >plain
  narrow plain 50
  (sleep 0.5; printf q; sleep 3) | TERM=xterm timeout 10 script -qec \
    "$TARN top --interval 100 $subject; echo ended \$?" /dev/null >out
  has out $'\033\\[1m'
  has out 'ended 0'
  TERM=dumb script -qec "$TARN top --interval 50 --count 2 $subject" /dev/null >out </dev/null
  hasnt out $'\033'
else
  echo "not on a terminal: there is no script (Debian: bsdutils)"
fi
if command -v python3 >/dev/null; then
  python3 "$SOURCE_DIR/tests/tool/jobs.py" "$TARN" "$subject" >out 2>err || fail "jobs.py: status $?"
else
  echo "not as a job of a shell: there is no python3"
fi
watch() { # until there was a look: then it is prepared for signals
  : >out
  "$TARN" top --interval 50 "$subject" >out 2>err 7>&- & watcher=$!
  until_so test -s out
}
watch
# Not INT, which a shell lets programs in its background ignore.
kill -TERM "$watcher" && wait "$watcher" || fail "a signal ends top with status $?"
watch
finish
wait "$watcher" || fail "the program's end ends top with status $?"
has out 'The program has ended'
[ ! -e "$page" ] || fail "the page of a program that ended is still there"

# Closed standard streams: no message goes into the program's page.
begin collects
for closed in '>&-' '2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
  bash -c '"$0" snapshot "$1" x '"$closed" "$TARN" "$subject" || true
  bash -c '"$0" snapshot "$1" no/where '"$closed" "$TARN" "$subject" && fail "$closed: status 0" || true
  t 0 top --once "$subject"
done
finish

# A page that means harm: nothing steers the terminal, and numbers may be any.
start "$LIAR"
for arguments in '--once' '--count 1'; do
  t 0 top $arguments "$subject"
  hasnt out $'\033|\302\233'
  hasnt err $'\033|\302\233'
done
t 0 top --once "$subject"
has out '\?\[31m\?'
t 1 snapshot "$subject" x
has err '^tarn: no snapshot in .*: \?\[31m\?31mred$'
finish

# Lines are cut to the columns of the terminal, and not in the middle of a character.
if command -v script >/dev/null; then
  start "$LIAR" "$(printf 'é%.0s' {1..14})"
  for columns in {40..43}; do # here the cause of a collection begins at the 35th
    TERM=xterm NO_COLOR=1 script -qec \
      "stty cols $columns rows 40; $TARN top --interval 20 --count 1 $subject" /dev/null >out </dev/null
    tr -d '\r' <out | sed $'s/\033\\[[0-9]*[A-Z]//g' >plain
    iconv -f UTF-8 -t UTF-8 plain >/dev/null || fail "in $columns columns a character is cut"
    has plain "^.{34}(é){$((columns - 34 < 7 ? columns - 34 : 7))}"
  done
  finish
fi

# Two worlds; one that counts references.
begin two
t 0 top --once "$subject"
has out 'world 1$'
has out 'world 2$'
t 1 snapshot "$subject" x
has err 'has 2 worlds: say which'
t 0 snapshot --world 2 "$subject" x
finish
begin counts
t 0 top --once "$subject"
has out '^cycles +0 collections'
t 0 snapshot "$subject" counted
finish

# Beside a malloc that shows itself as well; and the threads of that, by the names that they have now.
if [ -n "${DOOR-}" ]; then
  LD_PRELOAD=$DOOR begin collects
  t 0 top --once "$subject"
  has out 'world 0 \(malloc\)$'
  has out 'world 1$'
  t 0 snapshot "$subject" beside # there is only one with a collector
  finish
  TARN_LIVE=1 LD_PRELOAD=$DOOR "$HOLDER" 2 60 3 & subject=$!
  for ((i = 0; i < 20; i++)); do # until all have what they hold, and the pools were looked at
    sleep 0.3
    t 0 top --once "$subject"
    ! grep -Eq 'holder-3 +6\.' out || ! grep -Eq 'holder-2 +4\.' out || break
  done
  narrow out 80
  has out '^process [0-9]+ tool_holder, world 0 \(malloc\)$'
  has out '^threads  4 that allocate$'
  has out "^ +$subject tool_holder +2\.[0-9]M +2\.[0-9]M +[89][0-9]\.[0-9]{2}%$"
  for number in 1 2 3; do
    has out "^ +[0-9]+ holder-$number +$((number * 2))\.[0-9]M +$((number * 2))\.[0-9]M +[89][0-9]\.[0-9]{2}%$"
  done
  [ "$(grep -Ec '^ +[0-9]+ (tool_holder|holder-[123]) ' out)" = 4 ] || fail "not four threads"
  t 0 top --count 2 --interval 100 "$subject"
  narrow out 80
  has out '^ +0 +1[4-9]\.[0-9]M +1[4-9]\.[0-9]M +- +- +- +- +- +- +4$'
  t 1 snapshot "$subject" none
  has err 'no world with a collector'
  kill -9 "$subject"; wait "$subject" 2>/dev/null || true
  subject=
  t 0 top # takes its page away
fi

# A thread that never comes to a safepoint: the program says so, and goes on.
begin stuck
t 1 snapshot "$subject" x
has err 'some threads did not come to a safepoint'
t 1 snapshot --timeout 1 "$subject" x
has err 'did not answer in 1 seconds'
finish

# Killed: the page stays behind, is not believed, and goes.
begin collects
page=$(page_of "$subject")
[ -e "$page" ] || fail "no page $page"
kill -9 "$subject"; wait "$subject" 2>/dev/null || true
[ -e "$page" ] || fail "nothing was left behind"
t 1 top "$subject"
has err 'there is no process'
subject=
exec 7>&-
t 0 top
[ ! -e "$page" ] || fail "the page is still there"

# Its first thread has ended, others run on: it is not gone.
if [ -n "${DOOR-}" ]; then
  TARN_LIVE=1 LD_PRELOAD=$DOOR "$ENDS" 60 & subject=$!
  until_so test -e "$(page_of "$subject" 0)"
  until_so grep -q '^State:.Z' "/proc/$subject/status"
  t 0 top
  has out "^ +$subject "
  t 0 top --once "$subject"
  has out 'world 0 \(malloc\)$'
  [ -e "$(page_of "$subject" 0)" ] || fail "the page of a process without its first thread was removed"
  kill -9 "$subject"; wait "$subject" 2>/dev/null || true
  subject=
  t 0 top
fi

# Processes of other PID namespaces that share /dev/shm, all with the number 1: each has its page, and
# nobody else takes it away.
apart=(unshare -p -f --kill-child)
"${apart[@]}" --mount-proc true 2>/dev/null || apart+=(--map-current-user) # as one who may not
if "${apart[@]}" --mount-proc true 2>/dev/null; then
  spaces=() inner=()
  for number in 1 2; do
    mkfifo "end$number"
    TARN_LIVE=1 "${apart[@]}" --mount-proc "$SUBJECT" collects 60 \
      <"end$number" >"out$number" 2>&1 & spaces+=($!)
  done
  exec 5>end1 6>end2
  for number in 1 2; do
    until_so grep -q ready "out$number"
    inner+=("$(cat "/proc/${spaces[number - 1]}/task/${spaces[number - 1]}/children")")
    inner[number - 1]=${inner[number - 1]// }
    until_so test -e "$(page_of 1 1 "${inner[number - 1]}")"
  done
  other=$(page_of 2147483647 1 "${inner[0]}")
  : >"$other" # of a process that is not here
  t 0 top
  hasnt out '^ +1 '
  [ -e "$other" ] || fail "the page of a process of another PID namespace was removed"
  rm "$other"
  for process in "${inner[@]}"; do
    [ -e "$(page_of 1 1 "$process")" ] || fail "the page of a program of another PID namespace was removed"
    t 1 top "$process"
    has err "^tarn: process $process cannot be looked at: it is in another PID namespace"
  done
  exec 5>&- 6>&-
  wait "${spaces[0]}" "${spaces[1]}" || fail "a subject in a PID namespace ends with status $?"
  # /proc tells of other processes than kill does: nothing is believed of it.
  status=0
  "${apart[@]}" bash -c '
    mkfifo end
    TARN_LIVE=1 "$0" collects 60 <end >ready.inner & exec 5>end
    for ((i = 0; i < 200; i++)); do
      page=$(echo "/dev/shm/tarn-$2-"*"-1-$(stat -Lc %i /proc/self/ns/pid)")
      if [ -e "$page" ]; then break; fi
      sleep 0.1
    done
    "$1" top >out 2>err; status=$?
    [ -e "$page" ] || echo "the page is gone" >>err
    exec 5>&-; wait; exit "$status"' "$SUBJECT" "$TARN" "$(id -u)" || status=$?
  [ "$status" = 1 ] || fail "top with the /proc of another PID namespace: status $status"
  has err '^tarn: /proc tells of another PID namespace'
  hasnt err 'the page is gone'
else
  echo "not in other PID namespaces: unshare is missing, or may not make one"
fi

# A page of another process, of another kind, of another version, cut off, and no file at all.
LIVE=0 begin collects
page=$(page_of "$subject")
t 1 top "$subject"
has err 'does not show itself: start it with TARN_LIVE=1'
t 1 snapshot "$subject"
has err 'does not show itself'
lie() { # PATTERN
  t 1 top --once "$subject"
  has err "cannot be looked at: $1"
  rm -rf "$page"
}
: >"$page"; lie 'its page is of another version'
head -c 100000 /dev/zero >"$page"; lie 'its page is not ready'
head -c 100000 /dev/urandom >"$page"; lie 'its page is not ready'
{ printf 'tarnlive'; head -c 100000 /dev/zero; } >"$page"; lie 'its page is of another version'
mkdir "$page"; lie 'its page is not its own'
mkfifo "$page"; lie 'its page is not its own'
ln -s /etc/passwd "$page"; lie 'its page is gone'
finish

# Others' processes, none, and what is no number.
t 1 top 2147483647
has err '^tarn: there is no process 2147483647$'
for bad in 0 -1 x 99999999999999999999 ''; do
  for command in top snapshot; do
    t 2 $command -- "$bad"
    has err "^tarn: PID: \"${bad:0:40}\" is no number from 1 to 2147483647\$"
  done
done
t 0 top --
t 2 top 1 2
t 2 top --interval 0 1
t 2 top --once
t 2 snapshot
t 2 snapshot 1 2 3
t 2 snapshot --timeout 0 1
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && chmod 755 "$work"; then
  cp "$TARN" "$work/tarn"
  begin collects
  for command in top snapshot; do
    status=0
    (cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$work/tarn" $command "$subject") \
      >out 2>err || status=$?
    [ "$status" = 1 ] || fail "another user's $command: status $status"
    has err 'cannot be looked at: it belongs to another user'
  done
  finish
elif [ "$(id -u)" != 0 ]; then
  t 1 top 1
  has err 'it belongs to another user'
fi
