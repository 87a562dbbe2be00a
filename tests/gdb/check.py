# SPDX-License-Identifier: MIT
"""
check.py: runs the commands of tools/gdb/tarn.py in gdb and compares what they print with the
figures that program.c wrote.  By run.sh, which sets MODE, FIGURES and CORE in the environment.
"""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import traceback

import gdb

PLACES = ("heap", "object", "find", "retainers", "threads", "roots", "help")
failures = []


def figures():
    with open(os.environ["FIGURES"], encoding="ascii") as file:
        return {name: int(value, 0) for name, value in (line.split() for line in file)}


def run(command):
    """A command's output, which must not be a traceback, nor what is left of one."""
    text = gdb.execute(command, to_string=True)
    if re.search("Traceback|Error|Python Exception|makes no sense", text):
        failures.append("%s: %s" % (command, text))
    return text


def expect(command, *patterns, refuse=()):
    """The output matches each pattern and none of those to refuse."""
    text = run(command)
    missing = [pattern for pattern in patterns if not re.search(pattern, text, re.MULTILINE)]
    found = [pattern for pattern in refuse if re.search(pattern, text, re.MULTILINE)]
    if missing or found:
        failures.append("%s:\n%s\n  missing: %s\n  refused: %s" % (command, text, missing, found))
    return text


def count_of(name):
    """What `tarn find` says of a type: objects, bytes."""
    match = re.search(
        r"^ +([\d,]+) +([\d,]+)  %s " % re.escape(name), run("tarn find"), re.MULTILINE
    )
    return tuple(int(text.replace(",", "")) for text in match.groups()) if match else (0, 0)


def equal(what, value, wanted):
    if value != wanted:
        failures.append("%s: %s, and should be %s" % (what, value, wanted))


# --- with all in place -----------------------------------------------------------------------


def check_counts(f, dropped):
    members = f["members"] + 1
    equal("members", count_of("member"), (members, 40 * members))
    equal("links", count_of("link"), (3, 72))
    equal("dropped", count_of("dropped"), (dropped, 24 * dropped))
    equal("ephemerons", count_of("ephemeron"), (1, 32))
    equal("weak references", count_of("weak reference"), (1, 24))
    expect("tarn find raw 0", r"^world 1: 2 blocks of type raw, [\d,]+ bytes \(0 shown\)$")
    expect(
        "tarn find member 2",
        r"%s objects of type member, [\d,]+ bytes \(2 shown\)" % format(members, ","),
    )
    expect(
        "tarn find 0x%x" % f["link_type"],
        r"^world 1: 3 objects of type link, 72 bytes$",
        r"0x%x" % f["first"],
    )
    expect("tarn find nobody", r"^tarn: no world has a type nobody")


def check_objects(f):
    expect(
        "tarn object 0x%x" % f["first"],
        r"^an object of type link at 0x%x: in use$" % f["first"],
        r"^  world 1, heap 1, 24 bytes$",
        r"^  \+8 +word 1 +traced +0x%x -> 0x%x link$" % (f["second"], f["second"]),
        r"^  \+16 +word 2 +raw +0x%x$" % f["first"],
    )
    expect(
        "tarn object 0x%x" % (f["first"] + 9),
        r"is 9 bytes into an object of type link at 0x%x: in use" % f["first"],
    )
    expect(
        "tarn object 0x%x" % f["wide"],
        "large object of",
        r"\+8 +count +raw +0x%x$" % f["wide_count"],
        "more$",
    )
    expect("tarn object 0x%x" % f["raw"], "^a raw block at 0x%x: in use" % f["raw"])
    expect("tarn object 0x%x" % f["raw_freed"], "^a raw block at 0x%x: free" % f["raw_freed"])
    expect(
        "tarn object 0x%x" % f["traced"],
        r"trace function, 0x\w+ \(trace_hidden\)",
        "up to its trace function",
    )
    expect("tarn object 0x%x" % f["instance"], r"data block +traced +0x%x" % f["data"])
    expect("tarn object 0x%x" % f["link_type"], "is the type link of world 1")
    expect("tarn object 0x%x" % f["world"], "is world 1 itself")
    expect("tarn object 0x%x" % f["sleeper"], r"is the tarn_thread of thread \d+")
    expect("tarn object &chain_root", r"is not in the heap range: chain_root$")
    expect(
        "tarn object 0x%x" % (f["keeper"] + (40 << 20)),
        "is in the heap range, in memory that holds no block",
    )
    expect("tarn object no_such_name", "^tarn: no_such_name: ")
    expect("tarn object at_heap", r"^0x\w+ is not in the heap range: at_heap$")
    expect('tarn find ""', "^tarn: no world has a type ;")
    expect(
        "tarn object 0x%x" % (f["sleeper_object"] + 40),
        "a block at 0x%x: free" % (f["sleeper_object"] + 40),
    )


def check_retainers(f):
    expect(
        "tarn retainers 0x%x 3" % f["second"],
        r"^0x%x link, in world 1" % f["second"],
        r"^  <- 0x%x link, word 1$" % f["first"],
        r"^    <- root slot 0x\w+ \(chain_root\)$",
        r"^  <- 0x%x traced, word 2 \(maybe: its trace function was not run\)$" % f["traced"],
        r"^  <- 0x%x instance, data word 1$" % f["instance"],
        r"^  <- 0x%x vector, element %d$" % (f["wide"], f["wide_count"] - 1),
        r"^  <- 0x%x member, word 3$" % f["sleeper_object"],
        r"^    <- frame of thread \d+ sleeper, variable at 0x%x$" % f["sleeper_variable"],
        r"^  <- 0x%x weak reference, target \(weak" % f["weak"],
        r"^  <- 0x%x ephemeron, key \(key" % f["ephemeron"],
        r"^  <- key in weak table 0x\w+ \(weak key",
        r"^1 root provider was not asked",
        # Raw words keep nothing.
        refuse=(r"data word 2", r"0x%x link, word 2" % f["first"]),
    )
    expect("tarn retainers 0x%x" % f["value"], r"<- 0x%x ephemeron, value \(value" % f["ephemeron"])
    expect(
        "tarn retainers 0x%x" % f["keeper"],
        r"<- root slot 0x\w+ \(keeper_root\)",
        "<- value in weak table",
    )
    expect("tarn retainers 0x%x" % f["first"], r"chain_root", refuse=("<- .* link",))
    expect(
        "tarn retainers 0x%x" % f["value"],
        r"^  <- finalizer 0x\w+ \(bury\) \(waits for its death: does not keep it\)$",
    )
    expect(
        "tarn retainers 0x%x" % f["holder_object"],
        r"^  <- stack of thread \d+ holder at 0x%x \(conservative\)$" % f["holder_variable"],
    )
    expect("tarn retainers 1", "is not in the heap range")


def check_threads(f, holder):
    expect(
        "tarn threads",
        r"^world 1: 3 threads attached",
        r"^. +\d+ +\d+ sleeper +blocked +\S+ +0 +1 +[01] +2 +-  0x%x$" % f["sleeper"],
        r"^. +\d+ +\d+ gardener +\w+ .*0x%x$" % f["gardener"],
        holder,
    )


def check_roots(f):
    expect(
        "tarn roots",
        r"^2 global slots$",
        r"^  0x\w+ \(chain_root\): 0x%x -> 0x%x link$" % (f["first"], f["first"]),
        r"^  0x\w+ \(keeper_root\): 0x%x -> 0x%x vector$" % (f["keeper"], f["keeper"]),
        r"^1 provider\n  0x\w+ \(provide\) with ",
        r"^thread \d+ sleeper: 2 roots in frames$",
        r"^  variable at 0x%x: 0x%x -> 0x%x member$"
        % (f["sleeper_variable"], f["sleeper_object"], f["sleeper_object"]),
    )


def check_printers(f):
    expect(
        "print *(struct tarn_world *)0x%x" % f["world"],
        r"= world 1: 3 threads, [\d,]+ bytes in \d+ pools and 1 large object$",
    )
    expect(
        "print *(struct tarn_thread *)0x%x" % f["sleeper"],
        r'= thread \d+ "sleeper": blocked, poll \S+, 0 holds$',
    )
    expect("print *(struct tarn_mutator *)0x%x" % f["sleeper"], r'= thread \d+ "sleeper": blocked')
    expect(
        "print *(struct tarn_type *)0x%x" % f["link_type"],
        r'= type "link": 24 bytes, container, scanned as bits$',
    )
    expect(
        "print *((struct tarn_world *)0x%x)->container_heap" % f["world"],
        r"= heap 1 of world 1: container$",
    )
    unit = (f["first"] - int(gdb.parse_and_eval("tarn_space.base"))) >> 16
    expect(
        "print tarn_space.pools[%d]" % unit, r"= pool of 2730 blocks of class 1: container, list "
    )
    expect("print (enum tarn_status)3", r"= TARN_ELIMIT \(3\)$")
    expect("print (enum tarn_status)99", r"= no tarn_status \(99\)$")


def check_all(f, dropped, holder):
    expect("tarn help", *("^tarn %s " % place for place in PLACES))
    expect(
        "tarn heap",
        r"^world 1 at 0x%x in \S+: collected, 2 heaps, 8 types, 3 threads, " % f["world"],
        r"^ +container +40 .* %d +\d+ +[\d,]+$" % (f["members"] + 1),
        r"^    1 large object, 1 in use, 1,601,536 bytes$",
    )
    check_counts(f, dropped)
    check_objects(f)
    check_retainers(f)
    check_threads(f, holder)
    check_roots(f)
    check_printers(f)


STEPS = 4  # from each place

HOLDS = r"^. +\d+ +\d+ holder +running +\S+ +2 +0 +1 +0  scan "
LET_GO = r"^. +\d+ +\d+ holder +blocked +\S+ +0 +1 +[01] +0  scan "


# --- torn states -----------------------------------------------------------------------------


def check_torn(f):
    """Wherever it stands, each command ends, and what lives for sure is there."""
    expect("tarn heap", r"^world 1 at ")
    members = count_of("member")[0]
    equal("members at least", members >= f["members"] + 1, True)
    expect("tarn object 0x%x" % f["first"], "type link")
    expect(
        "tarn retainers 0x%x 2" % f["second"], r"<- 0x%x link, word 1$" % f["first"], r"chain_root"
    )
    expect("tarn threads", r"sleeper +blocked")
    expect("tarn roots", r"chain_root")


def poke(address, value):
    gdb.selected_inferior().write_memory(address, value.to_bytes(8, "little"))


def peek(address):
    return int.from_bytes(bytes(gdb.selected_inferior().read_memory(address, 8)), "little")


def place_of(text):
    return int(gdb.parse_and_eval("(long)&" + text))


def check_names(f):
    """What would steer a terminal is a question mark, and no name is no error."""
    kind = "((struct tarn_type *)0x%x)" % f["link_type"]
    mutator = "((struct tarn_mutator *)0x%x)" % f["sleeper"]
    name = int(gdb.parse_and_eval("(long)%s->name" % kind))
    for address, command, words in (
        (name, "print *%s" % kind, r'type "\?\[1mA": 24 bytes'),
        (name, "tarn find", r" 72  \?\[1mA 0x"),
        (place_of(mutator + "->name"), "print *%s" % mutator, r'thread \d+ "\?\[1mA": blocked'),
        (place_of(mutator + "->name"), "tarn threads", r"\d \?\[1mA +blocked"),
    ):
        kept = peek(address)
        poke(address, int.from_bytes(b"\x1b[1mA\0\0\0", "little"))
        expect(command, words, refuse=("\x1b",))
        poke(address, kept)
    poke(place_of(kind + "->name"), 0)
    expect("print *%s" % kind, r'type "anonymous": 24 bytes')
    poke(place_of(kind + "->name"), name)


def check_damage(f):
    """Words that are written over, one at a time, lead to a line and not around for ever."""
    world = "((struct tarn_world *)0x%x)" % f["world"]
    mutator = "((struct tarn_mutator *)0x%x)" % f["sleeper"]
    # No lines of trouble but the one: a list that ends early says nothing.
    arena = peek(place_of(world + "->store.arenas"))
    cases = (
        (world + "->store.arenas", 0x10, "tarn heap", "cannot be read"),
        (
            "((struct tarn_arena *)0x%x)->next" % arena,
            arena,
            "tarn heap",
            "list of arenas is damaged",
        ),
        (world + "->registry.list.next", 0x10, "tarn threads", "leads to 0x10"),
        (mutator + "->node.next", f["sleeper"] + 0, "tarn threads", "which is none of its sort"),
        (mutator + "->local.pub.tarn_frames", 0x18, "tarn threads", "a frame of thread"),
        (
            "((struct tarn_mutator *)0x%x)->local.pub.tarn_frames->previous" % f["sleeper"],
            peek(place_of(mutator + "->local.pub.tarn_frames")),
            "tarn roots",
            "run in circles",
        ),
        (world + "->roots.slots.capacity", 1 << 60, "tarn roots", "a table of roots says"),
        (world + "->roots.slots.entries", 8, "tarn retainers 0x%x" % f["second"], "cannot be read"),
        (world + "->collector", 24, "tarn roots", "collector of world 1 cannot be read"),
        (world + "->next", f["world"], "tarn threads", "3 threads attached"),
        (
            "tarn_space.pools[(0x%x - (long)tarn_space.base) >> 16].large->bytes" % f["wide"],
            0,
            "tarn object 0x%x" % f["wide"],
            "large object 0x%x has 0 bytes" % f["wide"],
        ),
    )
    for place, value, command, line in cases:
        address = place_of(place)
        kept = peek(address)
        poke(address, value)
        expect(command, line)
        for other in ("tarn heap", "tarn find", "tarn retainers 0x%x 2" % f["second"]):
            run(other)
        poke(address, kept)
    check_names(f)
    poke(f["first"], 0x1234567)
    expect("tarn object 0x%x" % f["first"], "its first word, 0x1234567, is no type of world 1")
    expect("tarn find", r"\(no type: 0x1234567\)")
    poke(f["first"], f["link_type"])


def check_depth():
    """A way to the root may be longer than Python's stack, and than a list of lines is."""
    script = {"__name__": "deep"}
    with open(os.environ["SCRIPT"], encoding="utf-8") as file:
        exec(compile(file.read(), file.name, "exec"), script)
    made = script["Retainer"]
    found = {i: [made("on %d" % i, i + 1)] for i in range(3000)}
    found[1] = [made("a root")] * 25 + found[1]
    found[2999] = [made("again", 7)]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        script["print_retainers"](found, 0)
    lines = text.getvalue().splitlines()
    equal("lines of what many hold", len(lines), 22)
    equal("the last one", lines[-1], "    <- 6 more")
    found[1] = found[1][-1:]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        script["print_retainers"](found, 0)
    lines = text.getvalue().splitlines()
    equal("levels", len(lines), 3000)
    equal("the last one", lines[-1].strip(), "<- again (see above)")


# --- modes -----------------------------------------------------------------------------------


def live():
    gdb.execute("break at_heap")
    gdb.execute("run")
    f = figures()
    check_all(f, f["dropped"], HOLDS)
    expect("tarn threads", r"^\* +1 .* gardener")
    gdb.execute("thread 2")
    expect("tarn threads", r"^\* +2 .* sleeper")
    gdb.execute("thread 1")
    check_damage(f)
    check_depth()
    # In a collection: before and after the mark, and with the pools of a heap half filed; then in
    # an allocation, while a bin gets its new piece.
    for place in (
        "tarn_mark_drain",
        "tarn_census_take",
        "tarn_sweep_file",
        "tarn_sweep_file",
        "tarn_pool_stretch",
    ):
        gdb.execute("tbreak " + place)
        gdb.execute("continue")
        for _ in range(STEPS):
            check_torn(f)
            gdb.execute("stepi 7", to_string=True)
    gdb.execute("break at_collected")
    gdb.execute("continue")
    f = figures()
    check_all(f, 0, LET_GO)
    expect("tarn find", r"^world 1: %s blocks of " % format(f["walked_blocks"], ","))
    expect("tarn object 0x%x" % f["first"], r"^  generation 2; marked by the last collection")
    gdb.execute("break at_end")
    gdb.execute("continue")
    gdb.execute("delete")
    gdb.execute("continue")
    expect("tarn heap", "^tarn: there is no process and no core file$")


def dump():
    """For the next one."""
    gdb.execute("break at_heap")
    gdb.execute("run")
    gdb.execute("generate-core-file %s" % os.environ["CORE"])
    gdb.execute("kill")


def core():
    f = figures()
    check_all(f, f["dropped"], HOLDS)


# What, and the words of tarn.py that are replaced.  Each breaks one printer, command or rule.
BROKEN = (
    ("printer of worlds", 'return "world %d: %s, %s in', 'return "%d: %s, %s in'),
    ("printer of threads", "return 'thread %d", "return '%d"),
    ("printer of types", 'if value["is_array"]', 'if not value["is_array"]'),
    ("printer of pools", "if not capacity", "if capacity"),
    ("printer of heaps", '1: "container"}.get(int', '1: "containers"}.get(int'),
    ("printer of statuses", '("tarn_status", StatusPrinter)', '("tarn_state", StatusPrinter)'),
    ("a printer that fails", "return self.line(self.value)", "return self.lines(self.value)"),
    ("free blocks", "return first == 0\n", "return False\n"),
    ("free raw blocks", "return first == (self.base", "return first == 1 + (self.base"),
    ("interior addresses", "index = (address - unit.base) // unit.size", "index = 0"),
    ("traced words", 'shown = {"strong": "traced"', 'shown = {"strong": "raw"'),
    ("raw words", 'if sort == "raw" or (', "if ("),
    ("weak references", 'if word == 1 else ("link"', 'if word == 2 else ("link"'),
    ("data blocks", "yield from data_hits", "data_hits"),
    ("large objects", "found += [(i + at // WORD", "found += [(i"),
    ("weak tables", "    retaining_tables(world, look)\n", "    pass\n"),
    ("stacks", "for i, block, _ in targets.hits(words):", "for i, block, _ in []:"),
    ("finalizers", 'due_finalizers("added")', "due_finalizers()"),
    ("frames", "for slot in slots:", "for slot in slots[1:]:"),
    ("holds", 'mutator["local.pub.tarn_holds"],', "0,"),
    ("root slots", 'capacity = self.record[path + ".capacity"]', "capacity = 1"),
)


def broken():
    """Each change of the script is noticed by a check of the core file."""
    with open(os.environ["SCRIPT"], encoding="utf-8") as file:
        whole = file.read()
    for what, part, other in BROKEN:
        if whole.count(part) != 1:
            failures.append("%s: not once in the script: %s" % (what, part))
            continue
        exec(compile(whole.replace(part, other), what, "exec"), {"__name__": "broken"})
        before = len(failures)
        core()
        noticed = len(failures) > before
        del failures[before:]
        if noticed:
            print("noticed: " + what)
        else:
            failures.append("not noticed: " + what)
    exec(compile(whole, "whole", "exec"), {"__name__": "whole"})
    core()


def quick():
    """For what loads the script in another way."""
    gdb.execute("break at_heap")
    gdb.execute("run")
    f = figures()
    check_counts(f, f["dropped"])
    check_threads(f, HOLDS)
    gdb.execute("kill")


def two():
    """The malloc door is another copy of the library, with a world of its own."""
    gdb.execute("break at_heap")
    gdb.execute("run")
    f = figures()
    expect(
        "tarn heap",
        r"^world 1 at 0x\w+ in libtarn-malloc\.so: not collected, ",
        r"^world 1 at 0x%x in libtarn\.so\.\S+: collected, " % f["world"],
    )
    check_counts(f, f["dropped"])
    check_objects(f)
    check_retainers(f)
    check_threads(f, HOLDS)
    gdb.execute("kill")


def stripped():
    gdb.execute("break at_heap")
    gdb.execute("run")
    for command in ("heap", "object 1", "find", "retainers 1", "threads", "roots"):
        text = run("tarn " + command)
        equal(command, text.count("\n"), 1)
        equal(command, text.startswith("tarn: libtarn has no debug information here: "), True)
    gdb.execute("kill")


def with_format(path, offset, number):
    """Writes another number of its format into a library, in a new file of the same name."""
    tables = subprocess.check_output(["readelf", "-sSW", path], encoding="ascii")
    symbol = re.search(r"(\w+) +\d+ OBJECT .* (\d+) tarn_debugger$", tables, re.MULTILINE)
    section = re.search(r"\[ *%s\] \S+ +\S+ +(\w+) (\w+) " % symbol.group(2), tables)
    place = int(symbol.group(1), 16) - int(section.group(1), 16)
    place += int(section.group(2), 16) + offset
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[place] = number
    with open(path + ".new", "wb") as file:
        file.write(data)
    shutil.copymode(path, path + ".new")
    os.replace(path + ".new", path)


def rebuilt():
    """A library that was built anew between two runs is the new one, in the old one's place."""
    gdb.execute("set disable-randomization on")
    gdb.execute("break at_heap")
    gdb.execute("run")
    expect("tarn heap", r"^world 1 at ")
    offset = int(gdb.parse_and_eval("(long)&tarn_debugger.format - (long)&tarn_debugger"))
    gdb.execute("kill")
    with_format(os.environ["COPY"], offset, 77)
    gdb.execute("run")
    f = figures()
    expect("tarn heap", r"^tarn: this script knows format \d+, and \S+ has format 77: use the one")
    expect("print *(struct tarn_thread *)0x%x" % f["sleeper"], "= <this script knows format")
    gdb.execute("kill")


MODES = {
    "live": live,
    "dump": dump,
    "core": core,
    "broken": broken,
    "quick": quick,
    "two": two,
    "stripped": stripped,
    "rebuilt": rebuilt,
}


def main():
    gdb.execute("set confirm off")
    gdb.execute("set pagination off")
    gdb.execute("set width 0")
    mode = os.environ["MODE"]
    try:
        MODES[mode]()
    except Exception:  # whatever it is, the test has failed
        failures.append(traceback.format_exc())
    for failure in failures:
        print("FAILED (%s) %s" % (mode, failure), file=sys.stderr)
    print("check.py: %s %s" % (mode, "failed" if failures else "passed"))
    gdb.execute("quit %d" % (1 if failures else 0))


main()
