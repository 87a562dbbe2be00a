#!/bin/sh
# SPDX-License-Identifier: MIT
# Perl: hashes, strings that grow, sorting, regular expressions, fork.
. "$(dirname "$0")/common.sh"

need perl perl
cat >"$work/program.pl" <<'PERL'
use strict; use warnings;
my (%count, @list);
my $state = 12345;
for my $i (1 .. 400000) {
  $state = ($state * 1103515245 + 12345) % 2147483648;
  my $word = "w" . ($state % 60000);
  $count{$word}++;
  push @{$list[$state % 1000]}, $word x ($i % 7);
}
my $text = join ",", map { "$_=$count{$_}" } sort keys %count;
print length $text, " ", scalar(() = $text =~ /w(\d+)=7/g), "\n";
my $total = 0;
$total += length for map { @$_ } grep { $_ } @list;
print "$total\n";
my $grows = "";
$grows .= "x" x ($_ % 100) for 1 .. 200000;
print length $grows, "\n";
for my $n (1 .. 20) {
  my $child = fork;
  if (!$child) { delete @count{(keys %count)[0 .. 9999]}; exit(scalar(keys %count) % 100); }
  waitpid $child, 0;
  print $? >> 8, " ";
}
print "\n";
PERL
compare perl "$work/program.pl"
was_there perl
