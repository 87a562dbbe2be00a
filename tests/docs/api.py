#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: api.py XML HEADERS [NOTES]
Is there a comment for everything that the public headers declare?

XML is the directory that Doxygen wrote, HEADERS the directory of the headers. Fails for a header,
function, type, structure, value of an enumeration or macro without words; for a function that the
headers export and Doxygen did not see; for a header that the main page, NOTES, does not name; and when
NOTES and tarn.h name the headers in two orders.
An enumeration may leave the words to its values. Fields may go without, and so may what any class of
C++ has: constructors, destructors, operators, and what is not public."""
import pathlib
import re
import sys
import xml.etree.ElementTree as tree

from words import report


def has_words(element):
    return any("".join(part.itertext()).strip()
               for name in ("briefdescription", "detaileddescription", "inbodydescription")
               for part in element.findall(name))


def place(element):
    location = element.find("location")
    if location is None:
        return "?"
    return f"{location.get('file')}:{location.get('line')}"


def needs_none(member, compound):
    name = member.findtext("name")
    scope = compound.findtext("compoundname")
    is_special = name.startswith(("operator", "~")) or name == scope.split("::")[-1]
    is_class = compound.get("kind") in ("class", "struct")
    return (member.get("kind") == "variable" or member.get("prot") != "public"
            or is_class and (is_special or "<" in scope))


def members_of(compound):
    for member in compound.iter("memberdef"):
        values = [("value", value.findtext("name"), place(member), has_words(value))
                  for value in member.findall("enumvalue")]
        yield from values
        has = has_words(member) or bool(values) or needs_none(member, compound)
        yield member.get("kind"), member.findtext("name"), place(member), has


def declared(directory):
    """Everything that Doxygen saw: kind, name, place, has it words?"""
    for path in sorted(directory.glob("*.xml")):
        root = tree.parse(path).getroot()
        for compound in root.findall("compounddef"):
            kind = compound.get("kind")
            if kind in ("struct", "union", "class", "file"):
                name = compound.findtext("compoundname")
                if not name.endswith(".md") and "<" not in name:
                    yield kind, name, place(compound), has_words(compound)
            yield from members_of(compound)


def exported(header):
    """Names of the functions that a header declares with TARN_API."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"^ *#.*(\\\n.*)*", "", text, flags=re.M)
    for statement in re.findall(r"\bTARN_API\b([^;{]*)", text):
        yield re.search(r"(\w+)\s*\(", statement).group(1)


def orders(header, notes):
    """Of the headers to be read: that which tarn.h tells, and that of the tables of NOTES."""
    told = re.search(r"headers in this order:(.*?)\.", header.read_text(encoding="utf-8"), flags=re.S)
    return (re.findall(r"\w+", told.group(1)) if told else [],
            re.findall(r"^\| tarn/(\w+)\.h \|", notes, flags=re.M))


def main():
    xml, directory = (pathlib.Path(name) for name in sys.argv[1:3])
    notes = pathlib.Path(sys.argv[3]).read_text(encoding="utf-8") if len(sys.argv) > 3 else None
    faults, seen, count = [], set(), 0
    for kind, name, where, has in declared(xml):
        seen.add(name)
        count += 1
        if not has:
            faults.append(f"{where}: no comment says what the {kind} {name} is")
    headers = sorted(directory.glob("*.h")) + sorted(directory.glob("*.hpp"))
    for header in headers:
        for name in exported(header):
            if name not in seen:
                faults.append(f"{header.name}: Doxygen did not see the function {name}")
        if notes is not None and f"tarn/{header.name}" not in notes:
            faults.append(f"{sys.argv[3]}: does not say what tarn/{header.name} is about")
    if notes is not None:
        told, shown = orders(directory / "tarn.h", notes)
        if told != shown or len(told) != len(headers) - 2: # all but tarn.h and tarn.hpp
            faults.append(f"tarn.h names the headers in the order {told}, {sys.argv[3]} in {shown}")
    return report(faults, f"{len(headers)} headers, {count} declarations", count > 100)


if __name__ == "__main__":
    sys.exit(main())
