#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: coverage.py DIRECTORY LISTING EXPORT... [--at-least LINES BRANCHES]
What of the files below DIRECTORY ran, by what llvm-cov exports of one build or of several.

An EXPORT is a prefix: EXPORT.info has the lines, EXPORT.json the conditions. Builds compile different
lines of the same files, so what counts is the place: a line is there if any build has it, and reached
if it ran in any. Each condition has two outcomes, and each is counted. Those of a macro of the library
count at every place that uses it, as llvm-cov's own listing has them.

Prints a line for each file, and writes to LISTING, function by function, what was not reached. Exit
status 1 if the whole reaches less than the bounds (in per cent), 0 otherwise."""
import bisect
import collections
import json
import sys


def read_lines(path, root, lines):
    """Lines that ran, from lcov's format: lines[file][number] is how often."""
    name = None
    with open(path) as text:
        for row in text:
            key, _, rest = row.rstrip("\n").partition(":")
            if key == "SF":
                name = rest if rest.startswith(root) else None
            elif key == "DA" and name:
                number, count = rest.split(",")[:2]
                lines[name][int(number)] += int(count)


def places(function):
    """By file id of a function: where an expansion of a macro is used, outermost first."""
    used = {}
    for region in function["regions"]:
        if region[7] == 1:  # an expansion, and the id of what it expands to
            used[region[6]] = (region[5], region[0], region[1])
    return used


def where(names, used, branch):
    """The place of a condition: the file and line that a reader sees, and what tells it from others."""
    at, place = branch[6], tuple(branch[:4])
    line = branch[0]
    while at in used:
        at, line, column = used[at]
        place += (line, column)
    return names[at], line, place


def read_branches(path, root, branches, functions):
    """Outcomes of conditions: branches[file][line, place] is [true, false]."""
    with open(path) as text:
        data = json.load(text)["data"][0]
    for function in data["functions"]:
        names = function["filenames"]
        if not names[0].startswith(root):
            continue
        functions[names[0]][function["regions"][0][0]] = function["name"].rpartition(":")[2]
        used = places(function)
        for branch in function["branches"]:
            name, line, place = where(names, used, branch)
            if name.startswith(root):
                counts = branches[name][line, place]
                counts[0] += branch[4]
                counts[1] += branch[5]


def share(part, whole):
    return 100.0 * part / whole if whole else 100.0


class Tally:
    def __init__(self):
        self.lines = self.lines_run = self.outcomes = self.outcomes_seen = 0

    def add(self, other):
        self.lines += other.lines
        self.lines_run += other.lines_run
        self.outcomes += other.outcomes
        self.outcomes_seen += other.outcomes_seen

    def row(self, name):
        return "%-32s %6d %6d %6.1f %%   %6d %6d %6.1f %%" % (
            name, self.lines, self.lines - self.lines_run, share(self.lines_run, self.lines),
            self.outcomes, self.outcomes - self.outcomes_seen,
            share(self.outcomes_seen, self.outcomes))


def tally(lines, branches):
    result = Tally()
    result.lines = len(lines)
    result.lines_run = sum(1 for count in lines.values() if count)
    result.outcomes = 2 * len(branches)
    result.outcomes_seen = sum(bool(count) for counts in branches.values() for count in counts)
    return result


def missing(lines, branches):
    """(line, what) of all that was not reached; conditions of lines that did not run are left out."""
    for number, count in lines.items():
        if not count:
            yield number, "not run"
    for (number, place), (true, false) in branches.items():
        if bool(true) != bool(false):
            yield number, "always %s, at column %d" % ("true" if true else "false", place[1])


def write_listing(out, name, short, lines, branches, functions):
    with open(name) as text:
        source = text.read().split("\n")
    starts = sorted(functions)
    last = None
    for number, what in sorted(missing(lines, branches)):
        at = bisect.bisect_right(starts, number)
        function = functions[starts[at - 1]] if at else ""
        if function != last:
            out.write("\n%s: %s\n" % (short, function))
            last = function
        out.write("%6d  %-30s %s\n" % (number, what, source[number - 1].strip()))


def main(arguments):
    bounds = None
    if "--at-least" in arguments:
        at = arguments.index("--at-least")
        bounds = [float(bound) for bound in arguments[at + 1:at + 3]]
        arguments = arguments[:at]
    root, listing, exports = arguments[0].rstrip("/") + "/", arguments[1], arguments[2:]
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    branches = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    functions = collections.defaultdict(dict)
    for export in exports:
        read_lines(export + ".info", root, lines)
        read_branches(export + ".json", root, branches, functions)

    print("%-32s %6s %6s %8s   %8s %4s" % ("", "lines", "missed", "", "outcomes", "missed"))
    total, directories = Tally(), collections.defaultdict(Tally)
    with open(listing, "w") as out:
        for name in sorted(lines):
            short = name[len(root):]
            one = tally(lines[name], branches[name])
            print(one.row(short))
            directories[short.partition("/")[0]].add(one)
            total.add(one)
            write_listing(out, name, short, lines[name], branches[name], functions[name])
    print()
    for name in sorted(directories):
        print(directories[name].row(name + "/"))
    print(total.row("all"))
    if not bounds:
        return 0
    reached = [share(total.lines_run, total.lines), share(total.outcomes_seen, total.outcomes)]
    for what, got, bound in zip(("lines", "outcomes"), reached, bounds):
        if got < bound:
            print("only %.1f %% of the %s, of %g that are asked for" % (got, what, bound))
    return int(any(got < bound for got, bound in zip(reached, bounds)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
