#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: check-symbols.sh NM libtarn.so libtarn.a HEADERS NODE
# Fails unless the shared library exports exactly the functions that the public headers declare with
# TARN_API, all of them of the symbol version NODE, when the static library defines a global symbol that
# does not start with tarn_, and when it uses functions of the C library that answer in memory that all
# threads share.
set -eu
nm=$1 shared=$2 static=$3 headers=$4 node=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A declaration may go over several lines; the name is what stands before the first parenthesis.
cat "$headers"/*.h | tr '\n' ' ' | grep -o 'TARN_API [^(;]*(' | grep -o 'tarn_[a-z0-9_]* *($' |
  sed "s/ *($/@@$node/" | sort -u >"$work/declared"
# The version itself is a symbol as well, and the only one that is no function.
"$nm" -D --defined-only "$shared" | awk '{ print ($2 == "T" ? "" : $2 " ") $3 }' |
  grep -v "^A $node\(@@$node\)*$" | sort -u >"$work/exported"
if ! diff "$work/declared" "$work/exported" >"$work/difference"; then
  echo "< declared with TARN_API, > exported by $(basename "$shared"):" >&2
  cat "$work/difference" >&2
  exit 1
fi
echo "$(basename "$shared"): $(wc -l <"$work/exported") functions, exactly those of the headers"

# _.stapsdt.base is a mark that sys/sdt.h puts into each object with probes: hidden, and one in the end.
foreign=$("$nm" --defined-only -g "$static" |
  awk 'NF == 3 && $3 !~ /^tarn_/ && $3 != "_.stapsdt.base" { print "  " $3 }')
ours=$("$nm" --defined-only -g "$static" | awk 'NF == 3 && $3 ~ /^tarn_/' | wc -l)
if [ -n "$foreign" ] || [ "$ours" -eq 0 ]; then
  echo "$(basename "$static"): $ours symbols start with tarn_, and these do not:" >&2
  printf '%s\n' "$foreign" >&2
  exit 1
fi
echo "$(basename "$static"): $ours symbols, all start with tarn_"

shared_answers='asctime|ctime|gmtime|localtime|rand|random|strerror|strsignal|strtok|getpwuid|getpwnam|ttyname'
used=$("$nm" --undefined-only "$static" | awk '{ print $2 }' | sort -u | grep -xE "$shared_answers" || :)
if [ -n "$used" ]; then
  echo "$(basename "$static") uses what is not safe in threads:" $used >&2
  exit 1
fi
