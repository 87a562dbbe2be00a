#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: seeds.py [--check]
Writes the corpus that the fuzz targets begin with, and the dictionaries: small programs that each go
one way, and some random ones that mix them.  The same files each time.  What is here must be encoded
as the targets read it; an input that means something else is no error, but a worse beginning.

--check  writes nothing, and fails when a file is not what would be written: the dictionaries have all
         names and words of the table of options, and of what the command `tarn` reads"""
import json
import pathlib
import random
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHECKS = sys.argv[1:] == ["--check"]
stale = []
ROOTS = 24
NODE, RESOURCE, ARRAY, TRACED, INSTANCE, LEAF, RAW, WEAK, EPHEMERON = range(9)


def write(path, data):
    if not CHECKS:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    elif not path.is_file() or path.read_bytes() != data:
        stale.append(str(path.relative_to(ROOT)))


def save(target, name, data):
    write(HERE / "corpus" / target / name, bytes(data))


def dictionary(name, what, words):
    lines = ["# %s; made by seeds.py.\n" % what]
    lines += ['"%s"\n' % word.replace("\\", "\\\\").replace('"', '\\"') for word in dict.fromkeys(words)]
    write(HERE / name, "".join(lines).encode())


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


def option_words():
    """All names of the table, all words that they accept, and what values are written with."""
    table = (ROOT / "lib/inspect/options_table.c").read_text()
    parser = (ROOT / "lib/inspect/options_parse.c").read_text()
    words = [name + "=" for name in re.findall(r'\.name = "([a-z0-9-]+)"', table)]
    words += re.findall(r'\{"([a-z0-9-]+)", [A-Z0-9_]+\}', table)
    words += re.findall(r'"([a-z0-9]+|%)"', parser)
    words += ["gc=debug", "heap=off", "=info", "K", "MiB", "gb", "T", "1.5", "0.", "=", ",", "+", "0", "1", "18446744073709551616",
              ".000001", "65536", ":file=", "%p", "%w", "%n", "%%", "/dev/null", ".json", ".folded"]
    dictionary("options.dict", "What options are written with", words)


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


# --- fuzz_files -------------------------------------------------------------------------------

WAYS = 4
AS_JSON, AS_SNAPSHOT, AS_TRACE, AS_BUILT = range(WAYS)


def heap_snapshot(grown):
    """The root, a group, an object that holds three others and `grown` more, a weak edge."""
    leaves = 3 + grown
    nodes = [[9, 0, 1, 0, 1, 0, 0], [9, 1, 3, 0, 1, 0, 0], [3, 2, 5, 16, leaves + 1, 0, 0]]
    nodes += [[3 if i % 2 else 8, 3, 7 + 2 * i, 24, 0, 0, 0] for i in range(leaves)]
    edges = [[1, 1, 7], [2, 4, 14]] + [[1 + i % 2, 4 if i % 2 else i, 7 * (3 + i)] for i in range(leaves)]
    edges += [[6, 5, 21]]
    meta = {"node_fields": ["type", "name", "id", "self_size", "edge_count", "trace_node_id",
                            "detachedness"],
            "node_types": [["hidden", "array", "string", "object", "code", "closure", "regexp",
                            "number", "native", "synthetic"], "string", "number"],
            "edge_fields": ["type", "name_or_index", "to_node"],
            "edge_types": [["context", "element", "property", "internal", "hidden", "shortcut",
                            "weak"], "string_or_number", "node"]}
    return json.dumps({"snapshot": {"meta": meta, "node_count": len(nodes), "edge_count": len(edges)},
                       "nodes": sum(nodes, []), "edges": sum(edges, []), "trace_tree": [],
                       "strings": ["", "(global roots)", "table", "leaf \u00e9", "slot", "weak"]},
                      separators=(",", ":"))


def trace_events():
    collection = {"name": "gc", "ph": "X", "ts": 100.5, "dur": 50, "pid": 1, "tid": 2,
                  "args": {"number": 1, "cause": "allocation", "generation": 0, "heap_before": 9000,
                           "heap_after": 4000, "live_bytes": 3000, "last_thread": "worker"}}
    phases = [dict(collection, name=name, ts=100.5 + i, dur=1.25, args={})
              for i, name in enumerate(["stop", "roots", "mark", "weak"])]
    later = dict(collection, ts=400, dur=20, args=dict(collection["args"], generation=2))
    return ([{"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "x"}}, collection] + phases
            + [later, {"name": "stop", "ph": "X", "ts": 500, "dur": 3, "tid": 2, "args": {"number": 3}},
               {"name": "to safepoint", "ph": "X", "ts": 700, "dur": 9, "tid": 3},
               dict(collection, name="cycles", ts=900, args={"failed": 1, "generation": 1}),
               dict(collection, ts=1e30)])


LOG = """some program says
tarn: gc number=1 cause=asked generation=2 pause=0.151ms stop=0.010ms roots=0.001ms mark=0.1ms \
before=12.0M after=8.1M live=7.9M last=one two
tarn: stop number=2 to_safepoint=0.002ms stopped=0.1ms
tarn: cycles number=1 cause=- generation=0 pause=1.5ms before=1.0M after=0.5M garbage=3 last=-
tarn: gc number=3 cause=auto generation=0 pause=nanms before=-1M failed=1
"""


def command_files():
    trace = json.dumps(trace_events(), separators=(",", ":"))
    texts = {
        "json-values": (AS_JSON, ' {"a":[1,-2.5e+3,true,false,null,"",{}],"b":{"c":[[],[[]]]}}\n'),
        "json-escapes": (AS_JSON, r'["\u00e9\ud83d\ude00\ud83dx\ud83d\ud83d\ude00\udc00\u0000\"\\\/\b\f\n\r\t"]'),
        "json-numbers": (AS_JSON, "[0,18446744073709551615,18446744073709551616,-0,1e400,0.1E-9]"),
        "json-wrong-number": (AS_JSON, "[01]"),
        "json-wrong-word": (AS_JSON, "[trux"),
        "json-wrong-escape": (AS_JSON, '["\\q'),
        "json-cut": (AS_JSON, '[{"a":12,"b'),
        "json-skipped": (AS_JSON + 2 * WAYS, '[[1,[2]],{"a":{"b":[3]}},[4'),
        "json-long": (AS_JSON, '["' + "x" * 1020 + "\u00e9" * 9 + '"]'),
        "json-deep": (AS_JSON, "[" * 66 + "]" * 66),
        "snapshot-alone": (AS_SNAPSHOT, heap_snapshot(2)),
        "snapshot-two": (AS_SNAPSHOT + 128, heap_snapshot(0) + "\0" + heap_snapshot(4)),
        "snapshot-cut": (AS_SNAPSHOT, heap_snapshot(1)[:-60]),
        "snapshot-no-names": (AS_SNAPSHOT, heap_snapshot(1).replace('"leaf', '"","leaf', 1)
                              .replace("[3,3,", "[3,9,")),
        "snapshot-empty": (AS_SNAPSHOT, re.sub(r'_count":\d+', '_count":0', re.sub(
            r'"(nodes|edges)":\[[\d,]*\]', r'"\1":[]', heap_snapshot(0)))),
        "snapshot-more-edges": (AS_SNAPSHOT, heap_snapshot(1).replace("6,5,21]", "6,5,21,6,5,21]")),
        "snapshot-edge-beyond": (AS_SNAPSHOT, heap_snapshot(1).replace("6,5,21]", "6,5,49]")),
        "snapshot-edge-inside": (AS_SNAPSHOT, heap_snapshot(1).replace("6,5,21]", "6,5,22]")),
        "snapshot-unknown-kind": (AS_SNAPSHOT, heap_snapshot(1).replace("[9,0,", "[64,0,")),
        "trace-list": (AS_TRACE + WAYS * 20, trace),
        "trace-object": (AS_TRACE + WAYS * 29, '{"displayTimeUnit":"ms","traceEvents":%s}' % trace),
        "trace-cut": (AS_TRACE, trace[:-100]),
        "trace-log": (AS_TRACE + WAYS * 9, LOG),
        "trace-log-name": (AS_TRACE + WAYS * 20, "tarn: gc number=1 pause=1ms last=tarn: cycles number=2\n" * 2),
    }
    for seed in range(6):
        dice = random.Random(seed)
        save("fuzz_files", "built-%d" % seed, [AS_BUILT + 128 * (seed % 2)]
             + [dice.randrange(252 if seed < 4 else 256) for _ in range(200)])
    for name, (way, text) in texts.items():
        save("fuzz_files", name, bytes([way]) + text.encode("utf-8"))
    sources = [(ROOT / "tools/tarn" / name).read_text()
               for name in ("heapfile.c", "trace.c", "trace_log.c", "json.c")]
    words = re.findall(r'"([a-zA-Z_]+)"', "\n".join(sources))
    dictionary("files.dict", "What the files are written with that the command reads",
               ['"%s":' % word for word in words] + words
               + ["tarn: gc number=", "tarn: cycles number=", "ms", "\\u", "\\ud83d", "\\udc00", "1e999",
                  "18446744073709551615", "4294967295", "[[", "]}", "{}", "[]", ",0,0"])
# --- fuzz_cfi ---------------------------------------------------------------------------------

CODE = 0x4000  # where the one function begins, from the tables' beginning


def word(value, size=4):
    return list((value & (1 << 8 * size) - 1).to_bytes(size, "little"))


def uleb(value):
    return [value] if value < 128 else [value & 127 | 128] + uleb(value >> 7)


def record(text):
    text = text + [0] * (-len(text) % 4)
    return word(len(text)) + text


def tables(program, letters=b"zR", more=(0x1b,), place=40, first=(0x0c, 7, 8, 0x90, 1)):
    """.eh_frame_hdr with one function, then its two descriptions, after place and header."""
    head = 20
    common = record(word(0) + [1, *letters, 0, 1, 0x78, 16, len(more), *more, *first])
    at = head + len(common)  # of the second one
    own = record(word(at + 4 - head) + word(CODE - (at + 8)) + word(200) + [0] + program)
    header = [1, 0x1b, 3, 0x3b] + word(head - 4) + word(1) + word(CODE) + word(at)
    return word(0, 2) + word(CODE + place, 2) + header + common + own


def cfi():
    push = [0x41, 0x0e, 16, 0x86, 2]
    programs = {
        "plain": tables([0x44, 0x0e, 32]),
        "frame": tables(push + [0x43, 0x0d, 6, 0x6f, 0x0c, 7, 8]),
        "states": tables(push + [0x0a, 0x50, 0x0e, 8, 0xc6, 0x48, 0x0b], place=19),
        "last": tables([0x07, 16]),
        "long-steps": tables([0x02, 9, 0x0e, 24, 0x03, 20, 0, 0x0e, 40, 0x04, 9, 0, 0, 0, 0x0e, 8]),
        "large": tables([0x0e, *uleb(200000), 0x05, 6, *uleb(20), 0x2e, *uleb(300)]),
        "signed": tables([0x11, 6, 2, 0x12, 7, 0x7c, 0x13, 0x78, 0x0e, 48]),
        "moved": tables([0x10, 6, 2, 0x76, 0, 0x0f, 3, 0x76, 0x78, 6]),
        "others": tables([0x09, 3, 8, 0x14, 3, 1, 0x15, 12, 1, 0x16, 13, 2, 0x76, 0, 0x06, 3,
                          0x08, 6]),
        "exceptions": tables([0x0e, 16], b"zPLR", (0x9b, 1, 2, 3, 4, 0x1b, 0x1b)),
        "signal": tables([0x0e, 16], b"zRS"),
        "wide": tables([0x0e, 16], more=(0x1c,)),
    }
    for name, program in programs.items():
        save("fuzz_cfi", name, program)


options()
option_words()
tracing()
counting()
conservative()
malloc()
command_files()
cfi()
if stale:
    sys.exit("not what tests/fuzz/seeds.py writes: " + " ".join(stale))
