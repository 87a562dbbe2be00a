#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: links.py MANPAGE PROGRAM
What the documentation refers to is there: targets of links, their headings, names of files, options
(MANPAGE prints their table), constants, functions of Tarn, metrics (PROGRAM is any that has a world),
and "NAME in FILE". tests/docs/names has the names that are right all the same, with the reason.

From the root of the sources."""
import functools
import pathlib
import re
import sys
import tempfile

from words import ROOT, Excuses, Words, documents, name_of, outcome, report

NAMES = ROOT / "tests/docs/names"
TOPS = ("lib", "doc", "tests", "bench", "examples", "include", "stress", "tools", "cmake", "packaging")
LAYERS = ("os", "heap", "world", "collect", "inspect", "doors")
FILE = re.compile(r"[\w*/.\[\]-]+\.(?:c|h|hpp|cc|md|sh|py|scm|pml|patch|cmake|awk|json|txt|7|in)$")
IN_FILE = re.compile(r"((?:`[A-Za-z_]\w*`(?:, | and )?)+) in `([\w/]+\.[ch])`")


@functools.lru_cache(None)
def files():
    return [path.relative_to(ROOT) for top in TOPS
            for path in (ROOT / top).rglob("*") if path.is_file()]


def text_of(*places):
    return "\n".join(path.read_text(encoding="utf-8", errors="replace")
                     for place in places for path in sorted(ROOT.glob(place)) if path.is_file())


def slug(heading):
    """The anchor that a heading gets."""
    heading = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return heading.replace(" ", "-")


def anchors(path):
    lines = Words(path).prose
    return {slug(line.lstrip("#")) for line in lines if line and line.startswith("#")}


def check_links(document, words):
    for number, line in enumerate(words.prose, 1):
        for target in re.findall(r"\]\(([^()\s]+)\)", line or ""):
            if re.match(r"https?://|mailto:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (document.parent / name).resolve() if name else document
            if not path.exists():
                yield number, f"there is no {name}"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                yield number, f"{name} has no heading #{anchor}"


def is_file(document, name):
    """Does the name, which may be short or a pattern, stand for a file or directory?"""
    pattern = re.sub(r"(?<![A-Za-z])[A-Z]{4,}(?=\.[a-z])", "*", name.rstrip("/"))
    bases = [document.parent, ROOT, ROOT / "lib", ROOT / "include", ROOT / "examples/scheme/programs"]
    if any(list(base.glob(pattern)) for base in bases):
        return True
    return "/" not in name and any(path.match(pattern) for path in files())


def looks_like_file(code):
    first = code.split("/")[0]
    if "/" in code and first in TOPS + LAYERS and re.fullmatch(r"[\w*/.\[\]-]+", code):
        return True
    return bool(FILE.match(code)) and not code.startswith((".", "/", "build/"))


def check_files(document, words):
    for number, code in words.inline():
        if looks_like_file(code) and not is_file(document, code):
            yield number, f"there is no file {code}", code


def check_in_file(document, words):
    """`name` in `file.c`: such a file has the name."""
    text = "\n".join(line or "" for line in words.prose)
    for match in IN_FILE.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        found = [path for path in files() if str(path).endswith("/" + match.group(2))]
        for name in re.findall(r"`(\w+)`", match.group(1)):
            if not any(re.search(rf"\b{name}\b", (ROOT / path).read_text()) for path in found):
                yield number, f"{match.group(2)} has no {name}", name


def check_index(index):
    """The index names every document beside it."""
    text = index.read_text(encoding="utf-8")
    for path in sorted(index.parent.glob("*.md")):
        if path != index and f"]({path.name})" not in text:
            yield f"{name_of(index)}: has no link to {path.name}"


def metrics(program):
    """Names of what the program's world writes about itself, and of the samples of each."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "metrics.prom")
        outcome([program], TARN_METRICS=str(path))
        text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^(?:# TYPE )?(tarn_\w+)", text, re.M))


def known_names(manpage, program):
    table = outcome([manpage, "--markdown"])[1]
    options = set(re.findall(r"\bTARN_[A-Z_]+(?==)", table)) | {"TARN_OPTIONS"}
    headers = set(re.findall(r"\bTARN_[A-Z0-9_]+", text_of("include/tarn/*")))
    recipes = text_of("CMakeLists.txt", "CMakePresets.json", "*/CMakeLists.txt",
                      "tests/*/CMakeLists.txt")
    build = set(re.findall(r"\b(?:TARN_[A-Z_]+|tarn_\w+)", recipes))
    functions = set(re.findall(r"\btarn_\w+", text_of("include/tarn/*", "lib/*/*.[ch]")))
    return options | headers | build | functions | metrics(program)


def check_names(document, known):
    for number, line in enumerate(document.read_text(encoding="utf-8").split("\n"), 1):
        for name in re.findall(r"(?<![\w./-])(?:TARN_[A-Z][A-Z0-9_]*|tarn_[a-z]\w*)\*?", line):
            if name.endswith(("_", "_*")):
                if any(other.startswith(name.rstrip("*")) for other in known):
                    continue
            elif name.rstrip("*") in known:
                continue
            yield number, f"nothing of Tarn is called {name}", name


def main():
    known = known_names(*sys.argv[1:3])
    excuses, faults, count = Excuses(NAMES), [], 0
    for document in documents():
        words = Words(document)
        count += 1
        found = [(number, fault, None) for number, fault in check_links(document, words)]
        found += check_files(document, words)
        found += check_in_file(document, words)
        found += check_names(document, known)
        for number, fault, name in found:
            if not excuses.cover(name):
                faults.append(f"{name_of(document)}:{number}: {fault}")
    faults += check_index(ROOT / "doc/README.md")
    return report(faults + excuses.faults(), f"{count} documents", count)


if __name__ == "__main__":
    sys.exit(main())
