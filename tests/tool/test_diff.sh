#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `tarn diff`: known leaks, and files that are not as they should be.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A thousand among a million.
"$MAKE_HEAP" before 1000000 0 1
"$MAKE_HEAP" after 1000000 1000 1
t 0 diff before after
[ "$(sed -n 3p out | tr -s ' ')" = " 0 1000 +1000 1000 0 46.9K +46.9K session" ] ||
  fail "the leak is not on top"
has out '^session: 1000 new objects; 1000 as this one:$'
has out '^    \(global roots\)\.the_cache -> cache\[499\] -> session$'
narrow out 80

# The same, each on the one before: equal steps are one.
"$MAKE_HEAP" before 2000 0 1
"$MAKE_HEAP" after 2000 1000 1 list
t 0 diff before after
has out '^    \(global roots\)\.the_cache -> cache\[0\] -> session\.next \(500 times\) -> session$'

# The other way round nothing grew, so there is no path.
t 0 diff after before
has out '^ +1000 +0 +-1000 +0 +46.9K +0 +-46.9K  session$'
hasnt out 'as this one'

t 0 diff before before
has out '^No type has changed'
has out '^ +2002 +2002 +0 +0 .*\(all\)$'

# Ids that the two do not share: by counts alone.
"$MAKE_HEAP" other 2000 10 90001
t 0 diff before other
has out '^ +0 +10 +\+10 +- .*session$'
has out 'cannot be told which objects'
has out '^session: 10 objects; 10 as this one:$'
t 0 diff before other --paths 0
hasnt out 'as this one'

# Objects that replace others of the same number are new, though nothing grew.
sed 's/^,0,6,\([0-9]*\),48/,0,6,88888\1,48/' after >replaced
t 0 diff after replaced
has out 'No type has changed'
has out '^ +3002 +3002 +0 +1000 .*\(all\)$'

# Sorting and its limit.
sed 's/"session"/"a\\u001b[31mb\\u00e9c"/' after >steering
t 0 diff before steering --top 1 --by=objects
has out 'a\?\[31mb.*c$'
narrow out 80
sed 's/"session"/"'"$(printf 'n%.0s' {1..300})"'"/' after >long
t 0 diff before long
narrow out 90 # a step of a path is never broken

sed 's/"session"/""/' after >nameless
t 0 diff before nameless
LC_ALL=C grep -q '[^ -~]' out && fail "something is printed for a name that is empty"
has out '\+46\.9K  \(no name\)$'
has out '^\(no name\): 1000 new objects; 999 as this one:$'
has out '-> \(no name\)\.next \([0-9]+ times\)$'
has out '^ +-> \(no name\)$'

# A kind whose name is too long is not cut in the middle of a character.
for file in before after; do
  sed 's/"object"/"x€€€€€€€€€€€€"/' $file >$file.kind
done
t 0 diff before.kind after.kind
has out '  \(x(€)+\)$'

# Only weakly held: there is no path.
sed 's/^,0,0,14028$/,2,10,14028/' after >weak
t 0 diff before weak
has out '^session: 1000 new objects, none of them strongly held$'

# Arguments.
t 2 diff before
has err 'two snapshots are needed'
t 2 diff before after third
t 2 diff --top 0 before after
t 2 diff --top before after
t 2 diff --by size before after
t 2 diff --nonsense before after
has err 'no option --nonsense'
t 2 diff --top
t 1 diff before missing
has err '^tarn: missing: No such file'
t 1 diff before .
has err '^tarn: \.: Is a directory'

# The second is read twice, which a pipe cannot be.
mkfifo pipe
t 1 diff before pipe
has err '^tarn: pipe: is read twice, so it has to be a file; with --paths 0'
cat after >pipe &
t 0 diff --paths 0 before pipe
wait
has out ' session$'

# Standard input as the first, as the second, and not as both.
t 0 diff before after
cp out expected
cat before | t 0 diff - after
cmp -s out expected || fail "the first is another one as the standard input"
t 0 diff --paths 0 before after
cp out expected
cat after | t 0 diff --paths 0 before -
cmp -s out expected || fail "the second is another one as the standard input"
t 1 diff before - <after
has err '^tarn: standard input: is read twice, so it has to be a file; with --paths 0'
t 2 diff --paths 0 - - <after
has err 'only one can be the standard input'
head -c 1000 before | t 1 diff - after
has err '^tarn: standard input: the file ends too early'

# What is no snapshot.
broken() { # NAME PATTERN
  t 1 diff before "$1"
  has err "^tarn: $1: .*$2"
  [ "$(wc -l <err)" = 1 ] || fail "more than one line"
  t 1 diff "$1" before
}
: >empty && broken empty 'ends too early'
echo '[]' >list && broken list 'does not begin with'
echo '{}' >nothing && broken nothing 'a part is missing'
echo 'hello' >text && broken text 'no JSON'
echo '{"nodes":[]}' >order && broken order 'another order'
sed 's/"node_count":[0-9]*/"node_count":7/' after >count && broken count 'not as many nodes'
sed 's/"edge_count":[0-9]*/"edge_count":7/' after >count && broken count 'not as many edges'
sed 's/"edge_count":[0-9]*/"edge_count":-7.5/' after >count && broken count 'count is expected'
sed 's/"to_node"/"to"/' after >field && broken field 'a field is missing'
sed 's/^,0,1,35$/,0,1,36/' after >target && broken target 'cannot be'
sed 's/^,0,1,35$/,0,1,99999999999999999999999/' after >huge && broken huge 'cannot be'
sed 's/^,0,6/,99999999999999999999,6/' after >kind &&
  broken kind 'cannot be'
# Sizes that cannot be, or that are too many bytes together; the place is named. Of ids any will do.
for size in -48 4.5 1e3 18446744073709551616 99999999999999999999; do
  sed "0,/^,0,6,/s/^,0,6,\([0-9]*\),48,/,0,6,\1,$size,/" after >size
  broken size "the size of node 2004 cannot be: $size \\(byte [0-9]+\\)\$"
done
sed 's/^,0,6,\([0-9]*\),48,/,0,6,\1,9000000000000000000,/' after >sizes
broken sizes 'the sizes up to node 2005 are too many bytes: 9000000000000000000 \(byte [0-9]+\)$'
sed 's/^,0,6,\([0-9]*\),48,/,0,6,-\1,48,/' after >ids
t 0 diff before ids
has out 'cannot be told which objects'
sed 's/,"session".*/]}/' after >strings && broken strings 'not among the strings'
{ cat after; echo x; } >more && broken more 'something follows|no JSON'
printf '{"a":%s' "$(printf '[%.0s' {1..100})" >deep && broken deep 'too deeply'

# Cut off anywhere, and with any byte changed: an error or none, but no accident.
"$MAKE_HEAP" small 12 3 1
size=$(wc -c <small)
for ((i = 0; i < size - 2; i += ${TRUNCATION_STEP:-7})); do
  head -c "$i" small >cut
  t 1 diff small cut
done
RANDOM=4711
for ((i = 0; i < 200; i++)); do
  cp small changed
  printf "\\x$(printf %x $((RANDOM % 256)))" |
    dd of=changed bs=1 seek=$((RANDOM % size)) conv=notrunc status=none
  status=0
  "$TARN" diff small changed >out 2>err || status=$?
  [ "$status" -le 1 ] || fail "status $status for a changed byte"
done
