#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The help, the manual page and doc/tarn-command.md name the same commands and options.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

t 0 help
narrow out 80
commands=$(grep -Eo '^  [a-z]+' out | grep -v help)
[ "$(echo $commands)" = 'run top snapshot report diff' ] || fail "commands: $commands"
cp out help
t 0 --help
cmp -s out help || fail "--help is not help"
for words in 'help help' 'help --help' '--help help'; do
  t 0 $words
  cmp -s out help || fail "$words is not help"
done
t 0 diff --top 3 before --help
has out '^usage: tarn diff '
t 2 diff --help=yes before after
t 0 --version
has out '^tarn [0-9]+\.[0-9]+\.[0-9]+$'
t 2
has err '^usage: tarn COMMAND'
t 2 nonsense
has err 'no command nonsense'
t 2 help nonsense

# An operand that can be left out is marked as one, in the list as well.
has help '^  top \[PID\]$'
t 0 top --help
has out '^usage: tarn top \[OPTIONS\] \[PID\]$'

page=$SOURCE_DIR/tools/tarn/tarn.1
: >all-options
for command in $commands; do
  t 0 help "$command"
  narrow out 80
  cp out help
  t 0 "$command" --help
  cmp -s out help || fail "$command --help is not help $command"
  # Between this command's item and the next one's.
  sed -n "/^\.It Nm Cm $command /,/^\.It Nm Cm /p" "$page" | sed '1!{/^\.It Nm Cm /d}' >item
  [ -s item ] || fail "tarn.1 has no $command"
  grep -Eo '^  --[a-z]+( [A-Z]+)?' help | sed 's/^ *--//' | sort >in-help || true
  grep -E '^\.It Fl -' item | sed 's/^\.It Fl -//; s/ Ar / /' | sort >in-page || true
  diff in-help in-page >differences || { cp differences out; fail "$command: help (<) and tarn.1 (>)"; }
  sed -n "/^## tarn $command/,/^## /p" "$SOURCE_DIR/doc/tarn-command.md" >section
  while read -r option _; do
    grep -q -- "--$option" section || fail "doc/tarn-command.md: $command has no --$option"
    grep -q -- "Fl -$option" <(sed '/^\.Sh DESCRIPTION/q' "$page") || fail "synopsis: no --$option"
  done <in-help
done
