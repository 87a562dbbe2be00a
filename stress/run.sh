#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: run.sh [--preset] [--seconds N] [--seed S] [--threads T] [--delays] [--jobs J]
#               [--patience N] [NAME...]
# Runs stress programs, all or those named (stress_churn, or churn), several at a time, and keeps
# the whole output of each in a file below build/. On a terminal the last lines are an area that is
# written anew, with the last progress of each program that runs; elsewhere there is a line when a
# program starts or ends, and one now and then. Builds nothing: `./run stress` does.
#   --preset     only looks at the arguments, and prints the build preset that they need
#   --jobs J     so many programs at a time (default: one for each core)
#   other options are those of the programs: doc/stress.md
#
# Exit status 1: a program failed; its output was printed in full, with the seed and the command
# that repeats it. 2: wrong arguments. 130: interrupted; all programs were ended.
#
# TSAN_PREFIX  what starts programs of tsan builds
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
seconds=10 seed='' threads='' patience='' jobs='' preset=tsan delays='' mode=run
names=()

die() { printf 'stress: %s\n' "$*" >&2; exit 2; }

known_names() { (cd "$here" && printf '%s\n' stress_*.c) | sed 's/^stress_//; s/\.c$//'; }

number_of() { # OPTION VALUE...
  { (($# > 1)) && [[ $2 =~ ^[0-9]+$ ]]; } || die "$1 takes a number"
  printf '%s' "$2"
}

parse() {
  while (($#)); do
    case $1 in
      --seconds) seconds=$(number_of "$@"); shift ;;
      --seed) seed=$(number_of "$@"); shift ;;
      --threads) threads=$(number_of "$@"); shift ;;
      --patience) patience=$(number_of "$@"); shift ;;
      --jobs) jobs=$(number_of "$@"); shift ;;
      --delays) delays=1 preset=tsan-delays ;;
      --preset) mode=preset ;;
      -*) die "unknown option $1; accepted are --seconds N, --seed S, --threads T, --delays," \
              "--jobs J, --patience N" ;;
      *) [[ -f $here/stress_${1#stress_}.c ]] ||
           die "no stress program \"$1\"; there are:" $(known_names)
         names+=("${1#stress_}") ;;
    esac
    shift
  done
  [[ $threads != 0 && $jobs != 0 ]] || die "one at least"
  ((${#names[@]})) || read -ra names -d '' <<<"$(known_names)" || true
  [[ -n $seed ]] || seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
  [[ -n $jobs ]] || jobs=$(nproc)
}

# --- what is shown ---------------------------------------------------------------------------

terminal='' bold='' red='' plain='' area=0
look_at_terminal() {
  [[ -t 1 && ${TERM:-dumb} != dumb ]] || return 0
  terminal=1
  [[ -z ${NO_COLOR:-} ]] || return 0
  bold=$'\e[1m' red=$'\e[1;31m' plain=$'\e[0m'
}

clear_area() {
  ((area == 0)) || printf '\e[%dA\e[J' "$area"
  area=0
}

# The program's last line that tells progress, or its first ones.
progress_of() { # NAME
  local line
  line=$(tail -c 400 "$output/$1.log" 2>/dev/null | tail -n 1 | tr -d '\r' | tr -s ' ') || true
  line=${line##*"/stress_$1: "}
  printf '%s' "${line# }"
}

draw_area() {
  local name columns
  [[ -n $terminal ]] || return 0
  columns=$(tput cols 2>/dev/null) || columns=80
  clear_area
  printf '%s%d s: %d of %d done, %d failed%s\n' "$bold" "$SECONDS" \
    $((passed + ${#failures[@]})) ${#names[@]} ${#failures[@]} "$plain"
  area=1
  for name in "${!pids[@]}"; do
    printf '%-.*s\n' $((columns - 1)) "  $name: $(progress_of "$name")"
    area=$((area + 1))
  done
}

say_line() { # FORMAT ARGUMENTS...
  clear_area
  # shellcheck disable=SC2059
  printf "$@"
}

told_at=0
heartbeat() { # without a terminal, every half minute
  local name
  [[ -z $terminal ]] && ((SECONDS - told_at >= 30)) || return 0
  told_at=$SECONDS
  for name in "${!pids[@]}"; do
    printf '%5d s  %s: %s\n' "$SECONDS" "$name" "$(progress_of "$name")"
  done
}

# --- programs --------------------------------------------------------------------------------

declare -A pids=() begins=()
passed=0 failures=() output=

repeat_of() { # NAME
  printf './run stress --seconds %s --seed %s%s%s %s' "$seconds" "$seed" \
    "${threads:+ --threads $threads}" "${delays:+ --delays}" "$1"
}

# Each is a process group of its own, so that what it forked can be ended with it, and ^C comes to
# this script alone. Its status goes to a file, for a shell of its own writes it.
start() { # NAME
  local name=$1 options=(--seconds "$seconds" --seed "$seed")
  [[ -z $threads ]] || options+=(--threads "$threads")
  [[ -z $patience ]] || options+=(--patience "$patience")
  rm -f "$output/$name.status"
  set -m
  (
    status=0
    # shellcheck disable=SC2086
    ${TSAN_PREFIX:-} "$root/build/$preset/stress/stress_$name" "${options[@]}" || status=$?
    echo $status >"$output/$name.status"
  ) </dev/null >"$output/$name.log" 2>&1 &
  set +m
  pids[$name]=$! begins[$name]=$SECONDS
  [[ -n $terminal ]] || printf '%5d s  %s starts\n' "$SECONDS" "$name"
}

tell_failure() { # NAME STATUS
  say_line '%s--- stress_%s: its whole output%s\n' "$bold" "$1" "$plain"
  cat "$output/$1.log"
  printf '%s--- stress_%s FAILED (%s) with seed %s; its output is in %s%s\n' "$red" "$1" "$2" \
    "$seed" "${output#"$root"/}/$1.log" "$plain"
  printf -- '--- to repeat: %s\n' "$(repeat_of "$1")"
}

finish() { # NAME; its status is there
  local name=$1 status
  status=$(<"$output/$name.status")
  wait "${pids[$name]}" 2>/dev/null || true
  if ((status == 0)); then
    passed=$((passed + 1))
    say_line '%5d s  %-12s passed in %3d s: %s\n' "$SECONDS" "$name" \
      $((SECONDS - begins[$name])) "$(sed -n 's/^.*: good: //p' "$output/$name.log")"
  else
    failures+=("$name")
    tell_failure "$name" "$status"
  fi
  unset "pids[$name]"
}

look_for_ends() {
  local name
  for name in "${!pids[@]}"; do
    if [[ -s $output/$name.status ]]; then
      finish "$name"
    elif ! kill -0 "${pids[$name]}" 2>/dev/null && [[ ! -s $output/$name.status ]]; then
      echo "the shell that waited for it is gone" >>"$output/$name.log"
      echo 255 >"$output/$name.status"
      finish "$name"
    fi
  done
}

end_all() {
  local name
  for name in "${!pids[@]}"; do
    kill -KILL -- "-${pids[$name]}" 2>/dev/null || true
    wait "${pids[$name]}" 2>/dev/null || true
  done
}

interrupted() {
  local name
  trap '' INT TERM HUP
  clear_area
  end_all
  printf 'interrupted after %d s with seed %s; %d passed, %d failed; there ran:\n' "$SECONDS" \
    "$seed" "$passed" ${#failures[@]}
  for name in "${!pids[@]}"; do
    printf '  %s: %s\n' "$name" "$(progress_of "$name")"
  done
  exit 130
}

run_all() {
  local next=0 name
  trap interrupted INT TERM HUP
  trap end_all EXIT
  while ((next < ${#names[@]} || ${#pids[@]})); do
    while ((next < ${#names[@]} && ${#pids[@]} < jobs)); do
      start "${names[next]}"
      next=$((next + 1))
    done
    sleep 0.25
    look_for_ends
    draw_area
    heartbeat
  done
  clear_area
}

summary() {
  local name
  printf '\n=== seed %s: %d passed, %d failed in %d s; outputs are in %s\n' "$seed" "$passed" \
    ${#failures[@]} "$SECONDS" "${output#"$root"/}"
  for name in "${failures[@]}"; do
    printf '%sFAILED%s %s: %s\n' "$red" "$plain" "$name" "$(repeat_of "$name")"
  done
  ((${#failures[@]} == 0))
}

parse "$@"
if [[ $mode == preset ]]; then
  echo "$preset"
  exit 0
fi
for name in "${names[@]}"; do
  [[ -x $root/build/$preset/stress/stress_$name ]] || die "stress_$name is not built: ./run stress"
done
output=$root/build/$preset/stress/output
mkdir -p "$output"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
look_at_terminal
printf '%d programs, %d at a time, --seconds %s --seed %s%s%s\n' ${#names[@]} "$jobs" "$seconds" \
  "$seed" "${threads:+ --threads $threads}" "${delays:+, with delays}"
run_all
summary
