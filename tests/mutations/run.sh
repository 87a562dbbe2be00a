#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: run.sh [--check | --table] [NAME...]
# Proves that tests bite: each *.patch here breaks the library in one place, and names the program
# that must notice. The tree is copied, each mutation applied to the copy, the program built and
# run; it has to fail within its time. Before that it has to pass, with the same arguments, without
# any mutation. Without names all are tried. TSAN_PREFIX: what starts programs of tsan builds.
#   --check  only sees that all mutations apply to the tree as it is
#   --table  prints what catches what, for doc/mutations.md
#
# The lines above a patch:
#   what: what is broken                        one line each
#   run: PRESET PROGRAM [ARGUMENTS...]          a stress program, or a test of tests/unit
#   within: SECONDS                             30 if it is left out
#   hangs: yes                                  it is caught by not ending within that time
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../.." && pwd)
jobs=$(nproc)

die() { printf 'mutations: %s\n' "$*" >&2; exit 2; }

field() { sed -n "s/^$2: //p;/^--- /q" "$here/$1.patch"; } # NAME FIELD

names=() mode=run
for argument in "$@"; do
  case $argument in
    --check | --table) mode=${argument#--} ;;
    -*) die "unknown option $argument; accepted are --check and --table" ;;
    *) [ -f "$here/$argument.patch" ] || die "no mutation \"$argument\""
       names+=("$argument") ;;
  esac
done
if [ ${#names[@]} -eq 0 ]; then
  for patch in "$here"/*.patch; do
    patch=${patch##*/}
    names+=("${patch%.patch}")
  done
fi
command -v patch >/dev/null || die "needs patch (Debian: patch)"

# --- what is wrong with the list itself ------------------------------------------------------

check() {
  local name bad=0
  for name in "${names[@]}"; do
    if [ -z "$(field "$name" what)" ] || [ -z "$(field "$name" run)" ]; then
      printf '%s: "what" or "run" is missing\n' "$name"
      bad=1
    fi
    # No fuzz: a mutation that no longer fits its surroundings may break something else.
    if ! patch --directory "$tree" --strip 1 --fuzz 0 --dry-run --silent <"$here/$name.patch"; then
      printf '%s: does not apply\n' "$name"
      bad=1
    fi
  done
  [ $bad -eq 0 ] && printf '%d mutations apply\n' ${#names[@]}
}

table() {
  local name
  printf '| mutation | what is broken | caught by |\n|---|---|---|\n'
  for name in "${names[@]}"; do
    printf '| `%s` | %s | `%s`%s |\n' "$name" "$(field "$name" what)" \
      "$(field "$name" run | cut -d' ' -f2-)" \
      "$([ "$(field "$name" hangs)" = yes ] && echo ', which does not end')"
  done
}

# --- trying them -----------------------------------------------------------------------------

work=$tree/build/mutations source=$tree/build/mutations/source

# New dates: what is there of an earlier run may have been built from something else.
copy_tree() {
  mkdir -p "$source"
  (cd "$tree" && tar -cf - --exclude ./build --exclude ./.git .) | tar -xmf - -C "$source"
}

configured=' '
configure() { # PRESET; only what programs of tests and stress need
  case $configured in *" $1 "*) return 0 ;; esac
  (cd "$source" && cmake --preset "$1" -DTARN_BUILD_BENCH=OFF -DTARN_BUILD_EXAMPLES=OFF \
    -DTARN_WERROR=OFF) >"$work/log" 2>&1 || { cat "$work/log" >&2; die "cannot configure $1"; }
  configured+="$1 "
}

build() { # PRESET PROGRAM
  (cd "$source" && cmake --build --preset "$1" -j "$jobs" --target "$2") >"$work/log" 2>&1
}

run() { # SECONDS PRESET PROGRAM ARGUMENTS...; its exit status, 124 when it did not end
  local seconds=$1 preset=$2 program=$3 prefix=''
  shift 3
  case $preset in *tsan*) prefix=${TSAN_PREFIX:-} ;; esac
  (cd "$work" && TSAN_OPTIONS=halt_on_error=1 timeout --signal KILL "$seconds" $prefix \
    "$source/build/$preset/$([[ $program == stress_* ]] && echo stress || echo tests)/$program" "$@") \
    >"$work/output" 2>&1
}

passed_before=$'\n'
passes_unchanged() { # SECONDS PRESET PROGRAM ARGUMENTS...
  local status=0
  case $passed_before in *$'\n'"$*"$'\n'*) return 0 ;; esac
  run $(($1 * 4)) "${@:2}" || status=$?
  if [ $status -ne 0 ]; then
    tail -n 20 "$work/output"
    printf '"%s" fails (%d) without any mutation\n' "${*:2}" $status
    return 1
  fi
  passed_before+="$*"$'\n'
}

apply() { patch --directory "$source" --strip 1 --fuzz 0 --silent "$@"; }

try() { # NAME; true when it is caught
  local name=$1 seconds status=0 begin verdict
  local -a command
  read -ra command <<<"$(field "$name" run)"
  seconds=$(field "$name" within)
  seconds=${seconds:-30}
  configure "${command[0]}"
  build "${command[@]:0:2}" || { tail -n 20 "$work/log"; die "${command[1]} cannot be built"; }
  passes_unchanged "$seconds" "${command[@]}" || return 1
  apply <"$here/$name.patch"
  if build "${command[@]:0:2}"; then
    begin=$SECONDS
    run "$seconds" "${command[@]}" 2>/dev/null || status=$? # no word of the shell's about signals
    if [ $status -eq 137 ] || [ $status -eq 124 ]; then
      [ "$(field "$name" hangs)" = yes ] && verdict="caught: does not end" || verdict="NOT CAUGHT in time"
    elif [ $status -ne 0 ]; then
      verdict="caught ($status)"
    else
      verdict="NOT CAUGHT"
    fi
    printf '%-28s %-22s %3d s  %s\n' "$name" "$verdict" $((SECONDS - begin)) "${command[*]}"
  else
    tail -n 20 "$work/log"
    verdict="NOT BUILT"
    printf '%-28s %s\n' "$name" "$verdict"
  fi
  apply --reverse <"$here/$name.patch"
  case $verdict in caught*) ;; *) return 1 ;; esac
}

try_all() {
  local name caught=0
  rm -rf "$source/lib"
  copy_tree
  for name in "${names[@]}"; do
    if try "$name"; then caught=$((caught + 1)); fi
  done
  printf '%d of %d mutations are caught\n' $caught ${#names[@]}
  [ $caught -eq ${#names[@]} ]
}

case $mode in
  check) check ;;
  table) table ;;
  run) check && try_all ;;
esac
