#!/bin/sh
# SPDX-License-Identifier: MIT
# What the readme promises to who begins with it, step by step, in an empty folder and with nothing but
# the installed files: the readme's own commands and program, the hard limit, every line of "Look
# inside", the manual pages.
#
# Three words of its commands are others here: the build, which is there already; the prefix; and
# ldconfig, in whose place LD_LIBRARY_PATH stands, for it is the system's.  That Chrome's DevTools open
# the snapshots is seen by viewers.snapshot_devtools, which makes its own.
. "$(dirname "$0")/common.sh"

# Nothing of the caller's: neither where other libraries are nor options.
unset LD_LIBRARY_PATH LD_PRELOAD LIBRARY_PATH CPATH CMAKE_PREFIX_PATH PKG_CONFIG_PATH XDG_RUNTIME_DIR
for name in $(env | sed -n 's/^\(TARN_[A-Z_]*\)=.*/\1/p'); do
  unset "$name"
done
[ -w /dev/shm ] || XDG_RUNTIME_DIR=$work export XDG_RUNTIME_DIR

prefix=$work/prefix
mkdir "$work/new"
cd "$work/new"

says() { # FILE PATTERN
  grep -Eq -- "$2" "$1" || {
    cat "$1"
    fail "no line of the above matches: $2"
  }
}

ends() { # STATUS COMMAND...; what it writes is in `out` and `err`
  expected=$1 status=0
  shift
  "$@" >out 2>err </dev/null || status=$?
  [ $status -eq "$expected" ] || {
    cat out err
    fail "$* ends with $status, not with $expected"
  }
}

block() { # FILE LANGUAGE N: the Nth block of a language
  awk -v fence="\`\`\`$2" -v wanted="$3" '
    $0 == fence { inside = ++seen == wanted; next }
    /^```/ { inside = 0 }
    inside' "$1"
}

echo "--- the commands of Install"
commands=$(sed -n '/^## Install$/,/^## /s/^    //p' "$SOURCE/README.md")
line() { printf '%s\n' "$commands" | sed -n "$1p"; }
[ "$(printf '%s\n' "$commands" | wc -l)" -eq 3 ] || fail "Install has other commands than three: $commands"
case $(line 1) in
  'cmake --preset release && cmake --build --preset release') ;;
  *) fail "the first command is another: $(line 1)" ;;
esac
case $(line 2) in
  'cmake --install build/release --prefix /usr/local && ldconfig') ;;
  *) fail "the second command is another: $(line 2)" ;;
esac
install=$(line 2 | sed "s|^cmake |\"\$CMAKE\" |; s|build/release|\"\$BUILD\"|; s|/usr/local|\"\$prefix\"|; s| && ldconfig||")
quietly eval "$install"
PATH=$prefix/bin:$PATH PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
export PATH PKG_CONFIG_PATH

readme=$prefix/share/doc/tarn/README.md
block "$readme" c 1 >program.c
block "$readme" text 1 >expected
says program.c '^int main\('
says expected '^of a million pairs'
cc() { "$CC" "$@"; }
compile=$(line 3)
quietly eval "$compile -o program"
LD_LIBRARY_PATH=$prefix/$LIBDIR ends 0 ./program
cmp expected out || fail "by $compile: it prints $(cat out)"
LD_LIBRARY_PATH=$prefix/$LIBDIR ldd ./program | grep -F "$prefix/$LIBDIR/libtarn.so" ||
  fail "the program has another libtarn.so"

echo "--- CMake, as install.md has it"
for target in Tarn::tarn Tarn::tarn_static; do
  mkdir "$target"
  {
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(new LANGUAGES C)\n'
    echo 'add_executable(runtime ../program.c)'
    block "$prefix/share/doc/tarn/doc/install.md" cmake 1 | sed "s/Tarn::tarn\b/$target/"
  } >"$target/CMakeLists.txt"
  says "$target/CMakeLists.txt" "target_link_libraries\(runtime PRIVATE $target\)"
  quietly "$CMAKE" -S "$target" -B "$target/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$CC"
  quietly "$CMAKE" --build "$target/build"
  ends 0 "$target/build/runtime"
  cmp expected out || fail "with $target: it prints $(cat out)"
  echo "$target: $(cat out)"
done
! ldd Tarn::tarn_static/build/runtime | grep libtarn || fail "Tarn::tarn_static is shared"

echo "--- the hard limit"
LD_LIBRARY_PATH=$prefix/$LIBDIR
export LD_LIBRARY_PATH
cp "$here/path/holder.c" program.c
eval "$compile -o holder"
ends 0 ./holder 200000
says out '^held 200000 pairs$'
TARN_HARD_LIMIT=2M ends 3 ./holder 200000
says out '^held [0-9]{5} pairs: the hard limit is reached$'
TARN_HARD_LIMIT=2M ends 0 ./holder 20000
TARN_HARD_LIMIT=2M TARN_SHOW_CONFIG=1 ends 0 ./holder 1
says err '^  hard-limit  *2M  *TARN_HARD_LIMIT$'
says err '^  growth  *100%  *default$'
TARN_HARD_LIMIT=much ends 0 ./holder 1
says err '^tarn: TARN_HARD_LIMIT="much": not a size; accepted: a size \(as in 512M or 1.5G\) from 1M'
TARN_HARD_LIMIT=much TARN_STRICT=1 ends 1 ./holder 1
TARN_HELP=1 ends 1 ./holder 1
for name in HARD_LIMIT SOFT_LIMIT GROWTH YOUNG MARKERS; do
  says "$readme" "TARN_$name"
  says err "TARN_$name"
done

echo "--- Look inside"
says "$readme" '^\| `TARN_LOG=gc` \|'
TARN_LOG=gc ends 0 ./holder 1000
says err '^tarn: gc number=[0-9]+ cause=asked generation=2 pause='
TARN_TRACE=trace.json ends 0 ./holder 1000
ends 0 tarn report trace.json
says out '^trace.json: [0-9]+ collections? in '
says "$readme" '^\| `TARN_PROFILE=heap.pb` \|'
TARN_PROFILE=heap.pb TARN_PROFILE_RATE=1K ends 0 ./holder 1000
[ -s heap.pb ] || fail "there is no profile"
TARN_PROFILE=heap.folded TARN_PROFILE_RATE=1K ends 0 ./holder 1000
says heap.folded '^.*main.* [0-9]+$'
says "$readme" '^\| `TARN_METRICS=heap.prom` \|'
TARN_METRICS=heap.prom ends 0 ./holder 1000
says heap.prom '^# EOF$'
says "$readme" '^\| `TARN_APART=1000` \|'
TARN_APART=1000 ends 0 ./holder 100000

echo "--- a program that runs: its views, a snapshot by signal and one at its end"
says "$readme" '^\| `TARN_SNAPSHOT_SIGNAL=USR2` \|'
says "$readme" '^\| `tarn top PID` \|'
mkfifo input
TARN_LIVE=1 TARN_SNAPSHOT_SIGNAL=USR2 TARN_SNAPSHOT_AT_EXIT=1 TARN_SNAPSHOT='heap-%n' \
  ./holder 1000 <input >out 2>err &
holder=$!
trap 'kill -9 $holder 2>/dev/null || true; rm -rf "$work"' EXIT
exec 7>input
await() { # FILE PATTERN
  tries=0
  until grep -Eqs -- "$2" "$1"; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { cat out err; fail "$1 never had a line that matches: $2"; }
    sleep 0.1
  done
}
await out '^held 1000 pairs$'
kill -USR2 $holder
await err 'snapshot of [0-9]+ objects, [0-9]+ bytes in heap-1, stopped for '
tries=0
until tarn top --once $holder >top 2>&1 || [ $((tries += 1)) -eq 50 ]; do sleep 0.1; done
says top "^process $holder holder, world 1$"
tarn snapshot $holder asked >told
says told '/asked: [0-9]+ objects, '
exec 7>&-
wait $holder || { cat err; fail "the holder ends with $?"; }
trap 'rm -rf "$work"' EXIT
says err 'snapshot of [0-9]+ objects, [0-9]+ bytes in heap-2, stopped for '
for first in heap-1 asked; do
  ends 0 tarn diff $first heap-2
  says out '^ +1000 +1500 +\+500 +500 .* pair$'
  says out '\(global roots\).*pair'
  says out 'pair\.slot 2 \([0-9]+ times\) -> pair$'
done

echo "--- the rest of what was installed"
ends 0 tarn --version
says out "^tarn $VERSION\$"
if [ -e "$prefix/$LIBDIR/libtarn-malloc.so" ]; then
  ends 0 tarn run --quiet grep -F libtarn-malloc.so /proc/self/maps
  says out "$prefix/$LIBDIR/libtarn-malloc.so"
fi
for page in man1/tarn.1 man7/tarn.7; do
  [ -s "$prefix/share/man/$page" ] || fail "there is no manual page $page"
done
if command -v man >/dev/null; then
  MANPAGER=cat ends 0 man -l "$prefix/share/man/man1/tarn.1"
  says out 'tarn.* snapshot'
  for section in 1 7; do
    found=$(MANPATH=$prefix/share/man man -w $section tarn)
    [ "$found" = "$prefix/share/man/man$section/tarn.$section" ] || fail "man finds $found"
  done
fi
if command -v gdb >/dev/null; then
  scripts=$prefix/share/gdb/auto-load
  says "$prefix/share/doc/tarn/doc/gdb.md" '^    add-auto-load-scripts-directory /usr/local/share/gdb/auto-load$'
  ends 0 gdb -nx -batch -iex 'set debuginfod enabled off' -iex "add-auto-load-scripts-directory $scripts" \
    -iex "add-auto-load-safe-path $scripts" -ex 'tarn help' "$(readlink -f "$prefix/$LIBDIR/libtarn.so")"
  says out 'tarn retainers'
fi
echo "the readme leads where it says"
