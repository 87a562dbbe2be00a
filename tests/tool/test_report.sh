#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `tarn report`: traces and log lines with known figures, and files that are not as they should be.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
make="python3 $SOURCE_DIR/tests/tool/make_trace.py"

$make trace 1000
t 0 report trace
narrow out 80
has out '^trace: 1000 collections in 10\.0s$'
has out '^stopped for 5\.04% of the time, 1000 times$'
has out '^generation 0 +900 +499us +899us +989us +999us +999us +450ms +4\.50%$'
has out '^generation 2 +100 +500us +900us +990us +5\.00ms +5\.00ms +54\.5ms +0\.55%$'
has out '^all +1000 +500us +900us +990us +999us +5\.00ms +504ms +5\.04%$'
has out '^mark +400us .* 80\.00%$'
has out '^ +9\.99s +5\.00ms +1\.00ms +2 +asked +1\.0G +1\.0G  worker 0$'
has out '^minimum mutator utilisation: 50\.00% in 10 ms, 86\.04% in 100 ms, 90\.09% in 1 s$'
[ "$(grep -c '  worker [012]$' out)" = 5 ] || fail "not five pauses"
t 0 report --worst 2 trace
[ "$(grep -c '  worker [012]$' out)" = 2 ] || fail "not two pauses"

# For machines: the same, and JSON.
t 0 report --json trace
python3 - out <<'CHECK' || fail "the JSON is not as it should be"
import json, sys
report = json.load(open(sys.argv[1]))
assert report["collections"] == 1000 and report["complete"] and report["left_out"] == 0
assert report["wall"] == 10_000_000_000 and report["stopped"] == sum(range(1, 1000)) * 1000 + 5_000_000
assert report["pauses"]["generation 0"]["p99.9"] == 999_000
assert report["pauses"]["all"]["max"] == 5_000_000
assert report["to_safepoint"]["all"]["max"] == 1_000_000
assert report["minimum_mutator_utilisation"]["10ms"] == 0.5
assert [w["pause"] for w in report["worst"]] == [5_000_000, 999_000, 998_000, 997_000, 996_000]
assert report["worst"][0]["cause"] == "asked" and report["worst"][0]["at"] == 9_990_000_000
CHECK

# A window is never looked at outside of the trace, and a shorter trace has none.
$make short 5
t 0 report short
has out 'utilisation: 50\.00% in 10 ms, - in 100 ms, - in 1 s$'

# Wrapped in an object, as other tools write them.
{ printf '{"displayTimeUnit":"ms","traceEvents":'; cat trace; echo ',"otherData":{}}'; } >wrapped
t 0 report wrapped
has out '^wrapped: 1000 collections in 10\.0s$'

# No collection at all.
echo '[]' >none
t 0 report none
has out '^none: 0 collections$'
t 0 report --json none
python3 -m json.tool out >/dev/null || fail "no JSON"
$make none 0
t 0 report none
has out '^none: 0 collections in 0$'

# A program that was killed: what is there counts.
head -c $(($(wc -c <trace) / 2)) trace >cut
t 0 report cut
has err 'cut ends before its end'
has out '^cut: (49[0-9]|50[0-9]) collections'
head -c 1 trace >cut
t 0 report cut
$make small 3
for ((i = 1; i < $(wc -c <small) - 3; i += ${TRUNCATION_STEP:-37})); do
  head -c "$i" small >cut
  t 0 report cut
  has err 'ends before its end'
done
size=$(wc -c <small)
RANDOM=4711
for ((i = 0; i < 100; i++)); do
  cp small changed
  printf "\\x$(printf %x $((RANDOM % 256)))" |
    dd of=changed bs=1 seek=$((RANDOM % size)) conv=notrunc status=none
  status=0
  "$TARN" report changed >out 2>err || status=$?
  [ "$status" -le 1 ] || fail "status $status for a changed byte"
  hasnt out $'\033'
done

# Numbers that cannot be are left out, and that is said.
sed 's/"dur": 5000.0/"dur": 1e999/' trace >huge
t 0 report huge
has err 'huge: 2 events have numbers that cannot be'
has out '^huge: 999 collections'
sed 's/"heap_before": 1049624576,/"heap_before": -5,/' trace >negative
t 0 report negative
has err 'events? have numbers'
sed 's/"ts": [0-9.]*/"ts": 99999999999999999999999999/' trace >late
t 0 report late
has out '^late: 0 collections$'
sed 's/worker 0/\\u001b[31mred\\u0000/' trace >steering
t 0 report steering
has out '\?\[31mred'
narrow out 80
# What is no UTF-8 (too long forms of an escape code, halves of pairs, beyond the end) is not printed.
printf 'tarn: gc number=1 pause=1ms last=%b\n' \
  'a\xe0\x82\x9bb\xed\xa0\x80c\xf5\x80\x80\x80d\xf0\x80\x80\x80e\xf8\x88\x80\x80f\xf4\x90\x80\x80g' >wrong
t 0 report --json wrong
python3 -m json.tool out >/dev/null || fail "no JSON"
for form in report 'report --json'; do
  t 0 $form wrong
  iconv -f UTF-8 -t UTF-8 out >/dev/null || fail "no UTF-8"
done
printf 'tarn: gc number=1 pause=1ms last=%b\n' 'é\xe2\x82\xac\xf0\x9f\x98\x80' >good
t 0 report good
has out '  é€😀$'

# Nor is one cut in the middle of a character, wherever it is cut.
for ((ascii = 0; ascii < 4; ascii++)); do
  name=$(printf 'x%.0s' {0..50} | head -c $((ascii + 48)))$(printf '€%.0s' {1..20})
  printf 'tarn: gc number=1 cause=%s pause=1ms last=%s\n' "$name" "$name" >long
  printf '[{"ph":"X","name":"gc","ts":0,"dur":1,"args":{"cause":"%s","last_thread":"%s"}}]' \
    "$name" "$name" >long-trace
  for form in long long-trace; do
    t 0 report --json $form
    python3 -c 'import json, sys
worst = json.load(open("out", encoding="utf-8"))["worst"][0]
for name in worst["cause"], worst["last_thread"]:
  assert len(name) > 9 and sys.argv[1].startswith(name), name' "$name" || fail "a name is cut in a character"
  done
done

# Log lines.
cat >log <<'LOG'
the program says something
tarn: gc number=1 cause=allocation generation=0 pause=1.500ms stop=0.500ms prepare=0.000ms roots=0.100ms mark=0.800ms weak=0.000ms census=0.100ms rest=0.000ms before=24.0M after=9.1M live=8.7M objects=271034 last=worker with\.\.\.$anks
tarn: stop number=1 to_safepoint=0.500ms stopped=1.000ms last=-
2026-01-01 tarn: gc number=2 cause=asked generation=2 pause=12.000ms stop=2.000ms mark=10.000ms before=48.0M after=9.1M last=-
tarn: cycles number=1 cause=asked generation=1 pause=3.000ms stop=1.000ms before=1.0M after=0.5M last=x
tarn: gc-pace number=2 live=1.0M
LOG
t 0 report log
narrow out 80
has out '^log: 3 collections$'
has out '^generation 0 +1 +1\.50ms .* -$'
has out '^generation 2 +1 +12\.0ms'
has out '^cycles +1 +3\.00ms'
has out '^all +3 +3\.00ms +12\.0ms'
has out 'allocation +24\.0M +9\.1M  worker with\.\.\.$'
hasnt out 'utilisation'
t 0 report --json log
python3 -m json.tool out >/dev/null || fail "no JSON"

# Names that are no UTF-8, or not what they seem: too long forms, halves of pairs, beyond the last
# character, cut off, turned round.
printf 'tarn: gc number=1 cause=asked generation=2 pause=1.0ms before=1.0M after=1.0M last=%b\n' \
  'a\xe0\x80\x80' 'b\xed\xa0\x80' 'c\xf5\x80\x80\x80' 'd\xff\xbf\xbf\xbf' 'e\xf4\x90\x80\x80' 'f\xe2\x82' 'g\xc2\x9b' \
  'h\xe2\x80\xaeh' 'i\xc3\xa9' 'j\xf0\x9f\x90\xa2' >names
t 0 report --worst 10 names
for name in 'a\?+' 'b\?+' 'c\?+' 'd\?+' 'e\?+' 'f\?+' 'g\?' 'h\?h' $'i\303\251' $'j\360\237\220\242'; do
  has out "  $name\$"
done
t 0 report --json --worst 10 names
python3 - out <<'CHECK' || fail "the JSON is not as it should be"
import json, sys
names = [worst["last_thread"] for worst in json.load(open(sys.argv[1], encoding="utf-8"))["worst"]]
assert [name.rstrip("\ufffd") for name in names[:6]] == list("abcdef"), names
assert names[6:] == ["g\x9b", "h\u202eh", "i\xe9", "j\U0001f422"], names
assert all(byte < 0x80 for byte in open(sys.argv[1], "rb").read().split(b"g\\u009b")[0]), names
CHECK

# A thread may be called as a line begins.
echo 'tarn: tarn: gc number=1 generation=1 pause=1ms last=tarn: cycles number=2' >name
t 0 report name
has out '^generation 1 +1 '
hasnt out '^cycles '

# A phase that is longer than its pause cannot be, but fills the plot.
echo 'tarn: gc number=1 pause=0.000001ms stop=429.496730ms' >longer
t 0 report longer
has out '^ +1ns \|s$'

# From a pipe, by its name or as the standard input; blanks may stand first.
{ printf ' \n\t'; cat trace; } >blanks
for file in trace blanks log; do
  t 0 report --json $file
  cp out expected
  t 0 report --json - <$file
  cmp -s out expected || fail "$file is another one as the standard input"
  for name in - /dev/stdin; do
    cat $file | t 0 report --json $name
    cmp -s out expected || fail "$file is another one from a pipe"
  done
done
gzip trace
zcat trace.gz | t 0 report -
gunzip trace.gz
has out '^standard input: 1000 collections in 10\.0s$'
head -c 100000 blanks | t 0 report -
has err '^tarn: standard input ends before its end'
: | t 1 report -
has err '^tarn: standard input: is empty$'
printf ' \n{"a":x}' | t 1 report -
has err '^tarn: standard input: is no JSON there \(byte 7\)$'
"$TARN" report - <&- >out 2>err && fail "a closed standard input gives status 0"
has err '^tarn: standard input: Bad file descriptor$'
cp trace ./-
t 0 report ./-
has out '^\./-: 1000 collections'

# What cannot be read to its end is no shorter one: here memory, which ends.
for text in 'tarn: gc number=1 pause=1ms' '[{"ph":"X","name":"gc","ts":0,"dur":1}'; do
  status=0
  python3 - "$TARN" "$text" >out 2>err <<'ERROR' || status=$?
import ctypes, mmap, os, subprocess, sys
memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
text = sys.argv[2].encode() + b"\n"
memory[mmap.PAGESIZE - len(text):mmap.PAGESIZE] = text
assert ctypes.CDLL(None).munmap(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE) == 0
file = os.open("/proc/self/mem", os.O_RDONLY)
os.lseek(file, start + mmap.PAGESIZE - len(text), os.SEEK_SET)
status = subprocess.run([sys.argv[1], "report", "-"], stdin=file).returncode
sys.stdout.flush()
os._exit(status)
ERROR
  [ "$status" = 1 ] || fail "a read that fails gives status $status"
  has err '^tarn: standard input: Input/output error'
done

# What is neither.
: >empty
t 1 report empty
has err '^tarn: empty: is empty$'
echo 'hello' >text
t 1 report text
has err '^tarn: text: is no trace of events'
echo '{"a":1}' >other
t 1 report other
has err '^tarn: other: is no trace of events'
echo '[1,2' >other
t 1 report other
echo '[{"ph":"X"},]' >other
t 1 report other
has err 'no JSON'
for wrong in '{"ts":01}' '{"a":trux' '{"a":"\q' '{"a":"\u12x'; do # none of them is just cut off
  printf '[%s' "$wrong" >other
  t 1 report other
  has err 'no JSON'
done
t 1 report missing
has err '^tarn: missing: No such file'
t 1 report .
has err '^tarn: \.: Is a directory'
t 2 report
t 2 report trace trace
t 2 report --worst x trace
t 2 report --json=yes trace
has err 'takes no value'
if [ -w /dev/full ]; then
  status=0
  "$TARN" report trace >/dev/full 2>err || status=$?
  [ "$status" = 1 ] || fail "a full device gives status $status"
  has err 'standard output: No space left'
fi
