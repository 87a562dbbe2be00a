# SPDX-License-Identifier: MIT
"""What stands in the documentation: blocks of code, and code in words, each with its place. And what
the tests of it share: lists of what is known, programs run with their output, the report."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PLACES = ("README.md", "CHANGELOG", "doc/*.md", "examples/**/*.md", "bench/*.md")


def documents():
    return [path for place in PLACES for path in sorted(ROOT.glob(place))]


def name_of(path):
    return str(path.relative_to(ROOT))


class Block:
    """Lines of code: of a fence with its language, or indented by four (language None)."""

    def __init__(self, document, number, language):
        self.document, self.number, self.language = document, number, language
        self.lines = []

    def place(self, line=0):
        return f"{name_of(self.document)}:{self.number + line}"

    def text(self):
        return "\n".join(self.lines).rstrip("\n") + "\n"


class Words:
    """The lines that are no code, None in place of those that are; and the blocks, in their order."""

    def __init__(self, document):
        self.document = document
        self.blocks = []
        self.prose = []
        lines = document.read_text(encoding="utf-8").split("\n")
        block = fence = None
        for number, line in enumerate(lines, 1):
            indent = len(line) - len(line.lstrip())
            if fence:
                if line.strip() == "```":
                    fence = block = None
                else:
                    block.lines.append(line)
            elif line.lstrip().startswith("```"):
                fence = True
                block = self.begin(number + 1, line.strip()[3:].strip())
            elif indent >= 4 and line.strip() and (block or self.may_begin()):
                block = block or self.begin(number, None)
                block.lines.append(line[4:])
            elif block and not line.strip():
                block.lines.append("")
            else:
                block = None
                self.prose.append(line)
                continue
            self.prose.append(None)

    def begin(self, number, language):
        self.blocks.append(Block(self.document, number, language))
        return self.blocks[-1]

    def may_begin(self):
        """An indented line is code after an empty one, but not in a list."""
        if self.prose and self.prose[-1] is not None and self.prose[-1].strip():
            return False
        for line in reversed(self.prose):
            if line and line.strip() and not line.startswith("  "):
                return not re.match(r"([-*]|\d+\.) ", line)
        return True

    def inline(self):
        """Code in words: its line, and the code.  A span may go over the end of a line."""
        text = "\n".join(line if line is not None else "" for line in self.prose)
        for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", text):
            if "\n\n" not in match.group(1):
                number = text.count("\n", 0, match.start()) + 1
                yield number, re.sub(r"\s*\n\s*", " ", match.group(1))


def read_list(path):
    """Lines "WHAT => HOW" of a list of this directory: the number of the line, WHAT and HOW."""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            what, arrow, how = line.rpartition(" => ")
            if not arrow:
                raise SystemExit(f"{name_of(path)}:{number}: no \" => \" in it")
            yield number, what.strip(), how.strip()


class Excuses:
    """Lines of such a list that excuse a fault; one that excuses none is a fault itself."""

    def __init__(self, path):
        self.path = path
        self.unused = {what: number for number, what, _ in read_list(path)}
        self.known = set(self.unused)

    def cover(self, what):
        self.unused.pop(what, None)
        return what in self.known

    def faults(self):
        return [f"{name_of(self.path)}:{number}: nothing needs this line: {what}"
                for what, number in self.unused.items()]


def outcome(command, directory=ROOT, **environment):
    """The status of a program (None: it was not done after a minute), and all that it said."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("TARN_", "PROGRAM_", "LD_PRELOAD"))}
    try:
        result = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, timeout=60,
                                env=dict(clean, **environment), check=False, encoding="utf-8",
                                errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return result.returncode, result.stdout
    except subprocess.TimeoutExpired:
        return None, "not done after a minute"


def report(faults, counted, is_enough):
    """Prints them; the status to end with."""
    for fault in faults:
        print(fault)
    print(f"{counted}, {len(faults)} faults")
    return 0 if is_enough and not faults else 1
