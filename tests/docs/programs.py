#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: programs.py CC LIBRARY [FLAG...]
C in the documentation.

A block of ```c with a main is a program: it is compiled with every warning an error, linked with
LIBRARY and the FLAGs, and run. If a block of ```text follows with nothing but empty lines between
them, that is what it prints, to the letter; a program without one prints nothing.

Any other block of ```c is a copy of a stretch of a file below examples/, tests/ or include/, or its
first line is in tests/docs/fragments, with the reason why it is not."""
import pathlib
import re
import sys
import tempfile

from words import ROOT, Excuses, Words, documents, name_of, outcome, report

FRAGMENTS = ROOT / "tests/docs/fragments"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1")


def blocks_of_c():
    """Each block with the one that follows it at once, or None."""
    for document in documents():
        words = Words(document)
        for block, following in zip(words.blocks, words.blocks[1:] + [None]):
            if block.language != "c":
                continue
            end = block.number + len(block.lines) # the line of the closing fence
            if following and any(line and line.strip()
                                 for line in words.prose[end:following.number - 2]):
                following = None
            yield block, following


def is_program(block):
    return re.search(r"^int main\(", block.text(), re.M)


def fault_of_program(block, following, compiler, link):
    expected = following.text() if following and following.language == "text" else ""
    with tempfile.TemporaryDirectory() as directory:
        source, program = pathlib.Path(directory, "program.c"), pathlib.Path(directory, "program")
        source.write_text(block.text(), encoding="utf-8")
        status, said = outcome([compiler, *WARNINGS, f"-I{ROOT}/include", str(source),
                                "-o", str(program), *link])
        if status != 0:
            return f"it does not compile:\n{said}"
        status, said = outcome([str(program)])
        if status != 0:
            return f"it ends with status {status}:\n{said}"
    return None if said == expected else f"it prints\n{said}where the text has\n{expected}"


def sources():
    for place in ("examples", "tests", "include"):
        for path in sorted((ROOT / place).rglob("*.[ch]")):
            yield path.read_text(encoding="utf-8")


def check_fragments(fragments):
    texts = list(sources())
    excuses = Excuses(FRAGMENTS)
    for block in fragments:
        first = f"{name_of(block.document)}: {block.lines[0].strip() if block.lines else ''}"
        if not excuses.cover(first) and not any(block.text() in text for text in texts):
            yield f"{block.place()}: no file below examples/, tests/ or include/ has this as it stands"
    yield from excuses.faults()


def main():
    compiler, link = sys.argv[1], sys.argv[2:]
    faults, programs, fragments = [], 0, []
    for block, following in blocks_of_c():
        if not is_program(block):
            fragments.append(block)
            continue
        programs += 1
        fault = fault_of_program(block, following, compiler, link)
        if fault:
            faults.append(f"{block.place()}: {fault}")
    faults += check_fragments(fragments)
    return report(faults, f"{programs} programs, {len(fragments)} fragments", programs)


if __name__ == "__main__":
    sys.exit(main())
