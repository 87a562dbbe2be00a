#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: seeds.py
Writes the corpus that the fuzz targets begin with, and the dictionary of options: small programs
that each go one way, and some random ones that mix them.  The same files each time.  What is here
must be encoded as the targets read it; an input that means something else is no error, but a worse
beginning."""
import pathlib
import random
import re

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "lib" / "inspect" / "options_table.c"
ROOTS = 24
NODE, RESOURCE, ARRAY, TRACED, INSTANCE, LEAF, RAW, WEAK, EPHEMERON = range(9)


def save(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(data))


# --- fuzz_options -----------------------------------------------------------------------------

def options():
    texts = {
        "empty": (0, ""),
        "sizes": (0, "min-heap=1.5M, young=64KiB ,growth=150%,retain=0"),
        "limits": (64, "hard-limit=2M,soft-limit=50%,near-limit=80,soft-share=10"),
        "soft-above-hard": (1, "hard-limit=2M,soft-limit=3M"),
        "flags": (0, "log=gc,safepoint,growth=200,generations=first-pool+pools"),
        "flags-none": (2, "log=none,generations=none"),
        "switches": (2, "VERIFY=on,Scan_Stack=yes,collect=off,populate=0,huge-pages=true"),
        "durations": (8, "purge-delay=1.5s,idle-collect=1ms,stop-timeout=10us"),
        "threads": (8 + 2, "markers=4,sweeper=1,purger=1,min-heap=64K,young=64K"),
        "counting": (4 + 64, "min-heap=64K,verify=1"),
        "faults": (16, "fault-mmap=7"),
        "both-kinds": (6, "growth=100"),
        "strict": (1, "growht=100,min-heap=,young=12x"),
        "shows": (0, "show-config=1"),
        "helps": (0, "help=1"),
        "wrong": (0, "min-heap=0.0000001K,growth=9,hard-limit=101%,purge-delay=5,zeal=-1,=3,x"),
        "huge": (0, "mark-stack=99999999999999999999T,max-threads=18446744073709551617"),
        "wraps": (0, "min-heap=16777217T,young=18014398509482048K,growth=18446744073709551716"),
        "odd": (32, ",, ,\tgrowth = 50 ,\x01\x7f=\xff,all"),
        "last-counts": (2, "generations=none,verify=0,generations=pools,verify=1"),
    }
    for name, (mode, text) in texts.items():
        save("fuzz_options", name, bytes([mode]) + text.encode("latin-1"))


def dictionary():
    table = TABLE.read_text()
    names = re.findall(r'\.name = "([a-z-]+)"', table)
    words = ["on", "off", "yes", "no", "true", "false", "none", "gc", "safepoint", "pools",
             "first-pool", "K", "MiB", "gb", "T", "ns", "us", "ms", "s", "m", "h", "%", "1.5", "0.",
             "=", ",", "+", "0", "1", "18446744073709551616", ".000001", "65536"]
    lines = ["# What options are written with; made by seeds.py.\n"]
    lines += ['"%s="\n' % name for name in names]
    lines += ['"%s"\n' % word for word in words]
    (HERE / "options.dict").write_text("".join(lines))


# --- fuzz_program -----------------------------------------------------------------------------

def at(root, *way):
    """An operand: a root, and slots to go on through, three at most."""
    return [root + ROOTS * len(way), *way]


def new(kind, root, *more):
    return [16 * kind, root, *more]


def store(into, value, slot, way=2):
    return [3, *into, *value, slot + 16 * way]


def drop(root):
    return [7, root]


def move(root, what):
    return [6, root, *what]


def burst(root, kind, count):
    return [8, root, count * 4 + kind]


def collect(generation):
    return [14 + 16 * generation]


FINALIZERS = [31]


def tracing():
    one_of_each = [x for kind in (NODE, RESOURCE, TRACED, INSTANCE, LEAF)
                   for x in new(kind, kind)]
    one_of_each += new(ARRAY, 8, 30) + new(RAW, 9, 20)
    programs = {
        "kinds": one_of_each + collect(2) + sum((drop(i) for i in range(10)), []) + collect(2),
        "chains": burst(0, 0, 30) + burst(1, 1, 30) + burst(16, 2, 20) + burst(20, 3, 20)
        + collect(2) + move(2, at(0, 0, 0, 0)) + drop(0) + drop(16) + collect(2),
        "old-to-young": burst(0, 1, 20) + collect(2) + new(RESOURCE, 1) + store(at(0, 0), at(1), 1)
        + drop(1) + collect(0) + move(2, at(0, 0, 1)) + collect(0) + collect(1),
        "old-array": new(ARRAY, 0, 250, 200, 3) + collect(2) + new(RESOURCE, 1)
        + store(at(0), at(1), 11) + store(at(0), at(1), 2, 0) + drop(1) + collect(0) + collect(1),
        "ranges": sum((new(ARRAY, i, 20) for i in (0, 2, 3)), []) + collect(2)
        + sum((new(RESOURCE, i) for i in range(12, 24)), []) + [9, *at(2), *at(5), 9]
        + [9, *at(3), *at(5), 9] + sum((drop(i) for i in range(12, 24)), []) + collect(0)
        + collect(2),
        "unit-end": new(ARRAY, 0, 250, 136, 19) + collect(2) + new(RESOURCE, 1)
        + store(at(0), at(1), 10) + drop(1) + collect(0) + collect(2),
        "instance": new(INSTANCE, 0) + collect(2) + new(RESOURCE, 1) + store(at(0), at(1), 3)
        + drop(1) + collect(0) + drop(0) + collect(2),
        "inverted": new(TRACED, 0) + collect(2) + new(RESOURCE, 1) + store(at(0), at(1), 1)
        + drop(1) + collect(0) + collect(2),
        "weak": new(RESOURCE, 0) + new(WEAK, 1, *at(0)) + collect(2) + drop(0) + collect(0)
        + [10, *at(1), *at(5), 2] + collect(2) + drop(2) + collect(2),
        "weak-many": burst(0, 0, 6) + new(WEAK, 1, *at(0)) + new(WEAK, 2, *at(0, 0))
        + new(WEAK, 3, *at(0, 0, 0)) + new(ARRAY, 4, 5) + store(at(4), at(1), 0)
        + store(at(4), at(2), 1) + drop(1) + drop(2) + collect(0) + drop(0) + collect(2),
        "weak-set": new(WEAK, 0, *at(5)) + collect(2) + new(RESOURCE, 1) + [10, *at(0), *at(1), 1]
        + drop(1) + collect(0) + collect(2),
        "ephemerons": new(RESOURCE, 0) + new(RESOURCE, 1) + new(EPHEMERON, 2, *at(0), *at(1))
        + drop(1) + collect(2) + [10, *at(2), *at(0), 130] + drop(0) + collect(0) + collect(2),
        "ephemeron-chain": new(NODE, 0) + new(NODE, 1) + new(EPHEMERON, 2, *at(0), *at(1))
        + new(EPHEMERON, 3, *at(1), *at(0)) + drop(1) + collect(2) + drop(0) + collect(2),
        "ephemeron-final": new(RESOURCE, 0) + new(RESOURCE, 1) + new(EPHEMERON, 2, *at(0), *at(1))
        + new(EPHEMERON, 3, *at(1), *at(0)) + [11, *at(0), 1] + drop(0) + drop(1) + collect(2)
        + [10, *at(2), *at(5), 130] + FINALIZERS + drop(0) + collect(2) + collect(2),
        "finalizers": burst(0, 1, 4) + [11, *at(0), 0] + [11, *at(0, 0), 1] + drop(0) + collect(2)
        + FINALIZERS + collect(2) + collect(2),
        "finalizer-weak": burst(0, 1, 4) + new(WEAK, 1, *at(0, 0)) + [11, *at(0), 1] + drop(0)
        + collect(2) + collect(2) + FINALIZERS + collect(2),
        "by-hand": new(RESOURCE, 0) + new(LEAF, 1) + new(RAW, 2, 10) + collect(2)
        + [12, 0, 12, 1, 12, 2] + new(RESOURCE, 3) + collect(0) + collect(2),
        "holds": [29, 0, RESOURCE, 29, 1, ARRAY, 5] + [13, 0, 13, 64, 13, 200] + collect(2),
        "large": new(ARRAY, 0, 250, 0, 8) + new(RESOURCE, 1) + store(at(0), at(1), 11) + drop(1)
        + collect(2) + drop(0) + collect(2),
    }
    for number, (name, program) in enumerate(programs.items()):
        save("fuzz_program", "tracing-" + name, [(0, 32, 2, 34)[number % 4]] + program)
    for mode in (4, 8, 16, 36, 50):
        save("fuzz_program", "tracing-mixed-%d" % mode, [mode] + mixed_tracing(mode))


def mixed_tracing(seed):
    dice, program = random.Random(seed), []
    root = lambda: dice.randrange(ROOTS)
    operand = lambda: at(root(), *(dice.randrange(2) for _ in range(dice.randrange(3))))
    for _ in range(60):
        program += dice.choice([
            lambda: new(dice.randrange(6), root(), dice.randrange(20)),
            lambda: burst(root(), dice.randrange(4), dice.randrange(1, 47)),
            lambda: store(operand(), operand(), dice.randrange(12), dice.randrange(4)),
            lambda: store(operand(), operand(), dice.randrange(12), dice.randrange(4)),
            lambda: move(root(), operand()),
            lambda: drop(root()),
            lambda: new(WEAK, root(), *operand()),
            lambda: new(EPHEMERON, root(), *operand(), *operand()),
            lambda: [10, *operand(), *operand(), dice.randrange(256)],
            lambda: [11, *operand(), dice.randrange(256)],
            lambda: [12, root()],
            lambda: collect(dice.randrange(3)),
            lambda: FINALIZERS,
        ])()
    return program


# In worlds that count: kinds are node, final, cleared, array, leaf.

def counted(kind, root, odd=0):
    return [16 * kind, root + ROOTS * (2 * odd)]


def ring(root, kind, count):
    return [10, root, (count - 1) * 8 + 4 + kind]


def counting():
    programs = {
        "chain": [10, 0, 20 * 8] + [8, 0] + collect(2),
        "ring": ring(0, 0, 10) + collect(0) + [8, 0] + collect(0) + collect(2),
        "final-ring": ring(0, 2, 6) + [8, 0] + collect(2) + [8, 0] + collect(2),
        "saved-ring": ring(0, 2, 6) + [8, 0] + collect(0) + collect(2),
        "cleared-ring": ring(0, 3, 6) + [8, 0] + collect(2),
        "leaves": counted(3, 5) + counted(4, 1) + [3, *at(5), *at(1), 0] + [8, 1] + collect(2)
        + [8, 5] + collect(2),
        "handles": ring(0, 0, 4) + [11, *at(0), 0, 11, *at(0, 0), 1] + [12, 0, 3, 8, 3] + [8, 0]
        + [12, 1, 2] + collect(2) + [8, 2] + collect(2) + [12, 0, 4],
        "arrays": [48, 9 + 12 * 1] + [3, *at(21), *at(21), 8] + [48, 9 + 12 * 2]
        + [3, *at(9), *at(21), 8] + [3, *at(21), *at(9), 1] + [8, 9, 8, 21] + collect(2),
        "frozen": ring(0, 0, 8) + [13 + 240] + [8, 0] + collect(2) + [13 + 224] + collect(2),
        "outside": ring(0, 0, 5) + counted(0, 1) + [3, *at(0), *at(1), 1] + [8, 0] + collect(2),
    }
    for number, (name, program) in enumerate(programs.items()):
        save("fuzz_program", "counting-" + name, [1 + (0, 2, 40, 8)[number % 4]] + program)
    for mode in (5, 35, 39, 9):
        dice = random.Random(mode)
        program = [dice.randrange(256) for _ in range(400)]
        save("fuzz_program", "counting-mixed-%d" % mode, [mode] + program)


# --- fuzz_conservative ------------------------------------------------------------------------

def block(form, size, place):
    return [16 * form, size, place]


def conservative():
    inside, edge, anywhere, tail, stranger, wild, tagged = range(2, 9)
    programs = {
        "insides": block(0, 0, 0) + block(1, 20, 1) + block(2, 3, 2) + block(3, 200, 66)
        + [3, inside, 0, 0, 9, 0, 0] + [14, 15],
        "large": block(2, 9, 3) + [3, inside, 0, 0, 0, 0, 2] + block(1, 251, 3)
        + [19, inside, 0, 0, 255, 255, 0] + [14] + [11, 27] + [15],
        "edges": block(2, 2, 3) + [3, edge, 0, 0, 1, 8] + [19, edge, 0, 0, 1, 9] + [14, 15],
        "tails": block(2, 5, 0) + [9, anywhere, 0, 0, 255, 255] + [9, tail, 0, 0, 0]
        + [3, tail, 0, 0, 30] + [14, 15],
        "strangers": block(0, 0, 0) + [3, stranger, 5, 0, 1, 0]
        + [6, 0, 0, stranger, 2, 0, 0, 0, 0, 0] + [14, 15],
        "tags": block(0, 0, 0) + block(0, 0, 3) + [8, tagged, 0, 0, 3] + [15],
        "slots": block(0, 0, 0) + block(0, 0, 3) + [6, 1, 0, 0, 0, 0, 1, 0] + [13, 29, 15],
        "freed": block(2, 1, 3) + block(3, 30, 3) + [12, 0, 0, 12, 1, 0] + [3, 0, 0, 0] + [14],
        "wild": [9, wild, 1, 2, 3, 4, 5, 6, 7, 8] + [9, 9, 0, 0, 2, 0] + [3, 9, 1, 0, 0, 1] + [14],
    }
    for number, (name, program) in enumerate(programs.items()):
        save("fuzz_conservative", name, [(0, 9, 2, 12)[number % 4]] + program)
    for mode in (1, 7, 11):
        dice = random.Random(mode)
        save("fuzz_conservative", "mixed-%d" % mode,
             [mode] + [dice.randrange(256) for _ in range(500)])


# --- fuzz_malloc ------------------------------------------------------------------------------

def malloc():
    small, middle, large, absurd = [10, 3], [200, 0, 20], [230, 0, 0, 2], [255, 1, 0, 1]
    programs = {
        "sizes": [0, 0, *small, 0, 1, *middle, 0, 2, *large, 0, 3, *absurd, 12, 0, 13, 1],
        "zeroed": [0, 0, *small, 13, 0, 5, 1, *small, 21, 2, 9, 0, 100, 0, 21, 3, *absurd, 255,
                   255],
        "resized": [0, 0, *small, 4, 0, *middle, 4, 0, *large, 4, 0, 240, 0, 0, 10, 4, 0, *small,
                    4, 0, 0, 0, 4, 1, 0, 0, 4, 1, *absurd],
        "aligned": [6, 0, 5, *small, 6, 1, 12, *middle, 6, 2, 16, *large, 6, 3, 220, *small],
        "posix": [7, 0, 6, *small, 7, 1, 2, *small, 7, 2, 240, *small, 7, 3, 14, *absurd],
        "pages": [8, 0, *small, 24, 1, *middle, 8, 2, *absurd],
        "usable": [0, 0, *small, 11, 0, 0, 1, *middle, 11, 1, 4, 1, *large, 11, 1],
        "trim": [0, 0, *large, 0, 1, *middle, 13, 0, 13, 1, 12, 0, 0, 0, 0, 0, 0, *small],
        "many": sum(([i % 16, i % 64, i % 128, i % 9] for i in range(150)), []),
    }
    for name, program in programs.items():
        save("fuzz_malloc", name, program)


options()
dictionary()
tracing()
counting()
conservative()
malloc()
