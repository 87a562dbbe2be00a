# SPDX-License-Identifier: MIT
"""
tarn.py: gdb commands and pretty-printers for processes, and core files, that use Tarn.

    (gdb) source tools/gdb/tarn.py
    (gdb) tarn help

doc/gdb.md shows each command.  Installed under gdb's auto-load directory it is loaded with the
library.

Nothing here runs a function of the process: all is read from its memory, which may be a core
file's, and may be in the middle of anything.  So
  - offsets, sizes and names of enumerators come from the library's debug information, and all other
    constants from its `tarn_debugger` (lib/world/debugger.h), whose format must be ours;
  - every list is followed for a bounded number of steps, and every count that is read is bounded;
  - what cannot be read, or makes no sense, is a line (Report.trouble), and the rest goes on;
  - memory is read in large pieces, and looked through by what Python has in C.

The rules of what is in use are those of tarn_pool_in_use and inspect/walk.c; which words are
traced, those of collect/scan.c.
"""

import bisect
import collections
import operator
import os
import re
import struct
import types

import gdb
import gdb.printing

FORMAT = 1

LINES = 20  # of one list, unless asked for more
LEVEL_MOST = 256  # objects that `tarn retainers` goes on from, in one level
STEPS_MOST = 1 << 20  # of any list in the library's memory
CHUNK = 1 << 20
WORD = 8
WORD_MASK = (1 << 64) - 1


class Trouble(Exception):
    """A line for the user."""


# --- reading ---------------------------------------------------------------------------------


class Report:
    """The lines of trouble of one command, each once, and not too many."""

    def __init__(self):
        self.seen = set()
        self.missing = 0

    def trouble(self, text):
        if text in self.seen:
            return
        self.seen.add(text)
        if len(self.seen) <= LINES:
            print("tarn: " + text)
        elif len(self.seen) == LINES + 1:
            print("tarn: more like these are not shown")

    def end(self):
        if self.missing:
            print("tarn: %s of the heap cannot be read; taken for zero" % bytes_text(self.missing))


def read(address, size):
    """The bytes there; gdb.MemoryError."""
    if size == 0:
        return b""
    if not 0 <= address <= WORD_MASK - size:
        raise gdb.MemoryError("Cannot access memory at address 0x%x" % (address & WORD_MASK))
    return bytes(gdb.selected_inferior().read_memory(address, size))


def read_sparse(address, size, page=4096):
    """The bytes there, with zeros for pages that cannot be read, and how many those are: what a
    program has never touched need not be in a core file."""
    try:
        return read(address, size), 0
    except gdb.MemoryError:
        first, last = address // page, (address + size - 1) // page
        if first == last:
            return bytes(size), size
        middle = (first + (last - first + 1) // 2) * page
        low, low_missing = read_sparse(address, middle - address, page)
        high, high_missing = read_sparse(middle, address + size - middle, page)
        return low + high, low_missing + high_missing


def read_word(address):
    return struct.unpack("=Q", read(address, WORD))[0]


def words_of(data):
    return memoryview(data)[: len(data) // WORD * WORD].cast("Q")


def read_text(address, most=256):
    """A C string, in what may be printed."""
    if not address:
        return ""
    data = b""
    while len(data) < most and b"\0" not in data:
        step = min(most - len(data), 64 - (address + len(data)) % 64)
        data += read(address + len(data), step)
    return clean(data.split(b"\0")[0])


def clean(data):
    return "".join(chr(c) if 32 <= c < 127 else "?" for c in data)


def plain(kind):
    return kind.strip_typedefs().unqualified()


class Record:
    """Bytes of a structure, and where they came from."""

    def __init__(self, layout, address, data):
        self.layout, self.address, self.data = layout, address, data

    def __getitem__(self, path):
        offset, field = self.layout.field(path)
        return int.from_bytes(self.data[offset : offset + field.sizeof], "little")

    def at(self, path):
        """The field's address."""
        return self.address + self.layout.field(path)[0]

    def text(self, path):
        offset, field = self.layout.field(path)
        return clean(self.data[offset : offset + field.sizeof].split(b"\0")[0])


class Layout:
    """A structure, by its debug information."""

    def __init__(self, kind):
        self.kind = plain(kind)
        self.size = self.kind.sizeof
        self.known = {}

    def field(self, path):
        """(offset, type) of a field, `a.b` for one of a structure inside."""
        if path not in self.known:
            offset, kind = 0, self.kind
            for name in path.split("."):
                field = plain(kind)[name]
                offset, kind = offset + field.bitpos // 8, plain(field.type)
            self.known[path] = offset, kind
        return self.known[path]

    def to(self, path):
        """The layout of what a field points to."""
        return Layout(self.field(path)[1].target())

    def has(self, path):
        try:
            self.field(path)
        except KeyError:
            return False
        return True

    def read(self, address):
        return Record(self, address, read(address, self.size))


def names_of(kind, prefix):
    """The enumerators of a type as words, by number."""
    return {
        field.enumval: field.name[len(prefix) :].lower().replace("_", " ")
        for field in plain(kind).fields()
    }


# --- words -----------------------------------------------------------------------------------


def bytes_text(count):
    return "%s bytes" % format(count, ",")


def count_text(count, name, names=None):
    return "%s %s" % (format(count, ","), name if count == 1 else names or name + "s")


def symbol_of(address):
    """'name' or 'name+4' of code or data, or ''; also without debug information."""
    try:
        text = gdb.execute("info symbol %d" % address, to_string=True)
    except gdb.error:
        return ""
    return (
        ""
        if text.startswith("No symbol")
        else text.split(" in section ")[0].replace(" + ", "+").strip()
    )


def named(address):
    name = symbol_of(address)
    return "0x%x (%s)" % (address, name) if name else "0x%x" % address


# --- libraries -------------------------------------------------------------------------------


class Library:
    """One copy of Tarn in the process: libtarn.so, a program that has it inside, or the malloc."""

    def __init__(self, symbol, name):
        self.name = name
        value = symbol.value()
        self.address = int(value.address)
        self.layout = Layout(value.type)
        head = self.layout.read(self.address)
        if head["format"] != FORMAT:
            raise Trouble(
                "this script knows format %d, and %s has format %d: use the one that came with it"
                % (FORMAT, name, head["format"])
            )
        self.head = head
        self.space = self.layout.to("space")
        self.pool = self.space.to("pools")
        self.world = Layout(self.layout.field("worlds")[1].target().target().target())
        self.arena = self.world.to("store.arenas")
        self.large = self.world.to("store.headers")
        self.type = self.world.to("types.weak")
        self.mutator = self.world.to("stop.awaited")
        self.bin = self.pool.to("bin")
        self.heap = self.world.to("atomic_heap")
        self.frame = self.mutator.to("local.pub.tarn_frames")
        self.root = self.world.to("roots.slots.entries")
        self.node = Layout(self.world.field("registry.list")[1])
        self.lists = names_of(self.layout.field("list")[1], "TARN_LIST_")
        self.flavours = names_of(self.layout.field("flavour")[1], "TARN_FLAVOUR_")
        self.scans = names_of(self.layout.field("scan")[1], "TARN_SCAN_")
        forms = {
            name: number
            for number, name in names_of(self.layout.field("form")[1], "TARN_FORM_").items()
        }
        kinds = {
            name: number
            for number, name in names_of(self.layout.field("kind")[1], "TARN_KIND_").items()
        }
        self.POOL, self.LARGE, self.REST = forms["pool"], forms["large"], forms["rest"]
        self.RAW, self.CONTAINER = kinds["raw"], kinds["container"]
        self.unit_shift = head["unit_shift"]
        self.unit_size = 1 << self.unit_shift
        self.dead_marks = frozenset((head["mark_condemned"], head["mark_releasing"]))
        self.granules = {}

    def __getattr__(self, name):
        # Once for each name; only what is in the structure.
        try:
            value = self.head[name]
        except KeyError:
            raise AttributeError(name) from None
        setattr(self, name, value)
        return value

    def mark_picker(self, size, count):
        """From a pool's mark bytes to those of its blocks."""
        step = 1 << self.granule_shift
        if size % step == 0:
            return lambda marks: marks[0 : count * size // step : size // step]
        key = size, count
        if key not in self.granules:
            places = [i * size // step for i in range(count)]
            self.granules[key] = (
                operator.itemgetter(*places) if count > 1 else lambda marks: (marks[0],) * count
            )
        return self.granules[key]


known_libraries = {}


def version_of(objfile):
    """What changes when the file was built anew, and the process may be started again."""
    try:
        status = os.stat(objfile.filename)
    except OSError:  # it is not on this machine, or not any more
        return objfile.build_id
    return objfile.build_id, status.st_ino, status.st_size, status.st_mtime_ns


def description_in(objfile):
    """`tarn_debugger` of the copy of the library in a file; None: it has none."""
    symbol = objfile.lookup_global_symbol("tarn_debugger")
    if symbol is not None and symbol.addr_class == gdb.SYMBOL_LOC_UNRESOLVED:
        # Its declaration, which gdb takes for any copy's, as long as it has not read the debug
        # information of the source file that defines it.  To ask for a line there makes it do so.
        try:
            gdb.decode_line("debugger.c:1")
        except gdb.error:
            pass  # it has no such line
        symbol = objfile.lookup_global_symbol("tarn_debugger")
    return symbol


def find_libraries():
    """All copies in the process that have debug information."""
    found = {}
    for objfile in gdb.objfiles():
        if not objfile.is_valid():
            continue
        try:
            symbol = description_in(objfile)
        except gdb.error:
            symbol = None
        if symbol is None:
            continue
        try:
            key = int(symbol.value().address), objfile.filename, version_of(objfile)
            if key[0] in found:
                continue
            if key not in known_libraries:
                known_libraries[key] = Library(symbol, objfile.filename.split("/")[-1])
            found[key[0]] = known_libraries[key]
        except KeyError as error:
            raise Trouble(
                "the debug information of %s has no %s" % (objfile.filename, error)
            ) from None
    return list(found.values())


def libraries():
    found = find_libraries()
    if found:
        return found
    if not gdb.current_progspace().filename:
        raise Trouble("gdb has a core file but no program here: start it as `gdb PROGRAM CORE`")
    try:
        gdb.parse_and_eval("(long)&tarn_world_create")
    except gdb.error:
        raise Trouble("there is no libtarn in this program, or it has no symbols") from None
    raise Trouble(
        "libtarn has no debug information here: build it with -g (RelWithDebInfo), or install the "
        "debug symbols of the very same build"
    )


def need_memory():
    if gdb.selected_inferior().pid == 0 and not gdb.selected_inferior().threads():
        raise Trouble("there is no process and no core file")


# --- worlds ----------------------------------------------------------------------------------


class Type:
    """A type, or what the first word of an object says it is."""

    def __init__(self, world, address):
        self.world, self.address = world, address
        record = world.copy.type.read(address)
        if record["check"] != address ^ world.copy.type_check:
            raise ValueError
        self.record = record
        try:
            self.name = read_text(record["name"]) or "anonymous"
        except gdb.MemoryError:
            self.name = "(name cannot be read)"
        self.scan = world.copy.scans.get(record["scan"], "?")
        self.traces = record["trace"] != 0
        self.words = record["words"]
        self.size = record["size"]
        self.is_array = bool(record["is_array"]) and record["element_size"] > 0
        self.element_size = record["element_size"]
        self.count_word = record["count_word"]
        self.data_size, self.data_word = record["data_size"], record["data_word"]
        self.parts = {}

    def traced(self, part, word):
        """Is that word of `slots`, `element` or `data` traced?"""
        if part not in self.parts:
            count = self.record[part + ".more_count"]
            more = frozenset()
            if 0 < count < STEPS_MOST:
                more = frozenset(memoryview(read(self.record[part + ".more"], 4 * count)).cast("I"))
            self.parts[part] = self.record[part + ".all"], self.record[part + ".bits"], more
        every, bits, more = self.parts[part]
        return bool(every) or (word < 64 and bool(bits >> word & 1)) or word in more

    def elements(self, words, room):
        """How many elements there are, in a block of `room` bytes."""
        if not self.is_array or self.count_word >= len(words):
            return 0
        fit = max(0, room - self.size) // self.element_size
        return min(words[self.count_word], fit)

    def slot(self, word, count):
        """What a word of an object with that many elements is: (text, sort).  Sorts: strong, weak,
        key, value, raw, maybe."""
        if word == 0:
            return "type", "raw"
        if self.scan == "weak":
            return ("target", "weak") if word == 1 else ("link", "raw")
        if self.scan == "ephemeron":
            return (("key", "key"), ("value", "value"))[word - 1] if word <= 2 else ("link", "raw")
        rest = "maybe" if self.traces else "raw"
        if word * WORD < self.size:
            if self.is_array and word == self.count_word:
                return "count", "raw"
            if self.data_size and word == self.data_word:
                return "data block", "strong"
            traced = word < self.words and self.traced("slots", word)
            return "word %d" % word, "strong" if traced else rest
        if not self.is_array:
            return "word %d, behind the object" % word, "raw"
        index, inside = divmod(word * WORD - self.size, self.element_size)
        if index >= count:
            return "behind the last element", "raw"
        name = "element %d" % index
        if self.element_size > WORD:
            name += " word %d" % (inside // WORD)
        whole = self.element_size % WORD == 0 and self.size % WORD == 0
        return name, "strong" if whole and self.traced("element", inside // WORD) else rest

    def may_refer(self):
        return self.scan != "none"


class Unit:
    """A unit in use: a pool, or the first one of a large object."""

    def __init__(self, world, number, map_word, pool):
        library = world.copy
        self.world, self.number, self.map, self.pool = world, number, map_word, pool
        self.base = world.space_base + (number << library.unit_shift)
        self.kind = map_word >> library.map_kind_shift & 3
        self.raw = self.kind == library.RAW
        self.large = None
        if map_word >> library.map_form_shift & 3 == library.LARGE:
            self.large = library.large.read(pool["large"])
            units = map_word & 0xFFFFFFFF
            self.size = min(self.large["bytes"], max(1, units) << library.unit_shift)
            if self.size < WORD:
                raise Trouble("large object 0x%x has %d bytes" % (self.base, self.size))
            self.count = 1
        else:
            self.size = (map_word >> library.map_size_shift & library.map_size_mask) * WORD
            if self.size < 2 * WORD:
                raise Trouble("pool 0x%x has blocks of %d bytes" % (self.base, self.size))
            self.count = library.unit_size // self.size

    def age(self):
        """The generation that looks at it: 0, 1 or 2."""
        if self.large:
            return {0: 0, 1: 1}.get(self.large["age"], 2)
        bits = self.world.ages(self.number)
        return (
            0
            if bits & self.world.copy.age_young
            else 1
            if bits & self.world.copy.age_aged
            else 2
        )

    def bump(self):
        """What a bin has not handed out yet of its piece begins there; 0: no bin has the pool."""
        if not self.pool["bin"]:
            return 0
        bin_ = self.world.bin(self.pool["bin"])
        return bin_["head.bump"] if bin_ and bin_["head.pool"] == self.pool.address else 0

    def load(self):
        """Its blocks: `data`, `firsts` (the first word of each that may be), `live` (numbers of
        those in use) and `condemned`."""
        if self.large:
            self.load_large()
            return self
        library, world, size = self.world.copy, self.world, self.size
        top = min(self.pool["own.virgin"], size * self.count)
        count = top // size
        self.data = world.heap_bytes(self.base, count * size)
        self.words = words_of(self.data)
        self.firsts = self.words[:: size // WORD].tolist() if count else []
        cursor = min(self.pool["own.cursor"], top)
        swept = min(count, (cursor + size - 1) // size)
        bump = self.bump()
        handed_out = swept
        if self.base <= bump <= self.base + library.unit_size:
            handed_out = min(swept, (bump - self.base + size - 1) // size)
        marks = world.marks(self.base, library.unit_size) if world.tables else None
        if marks is None:
            self.condemned = []
            may_be = range(handed_out)
        else:
            each = library.mark_picker(size, count)(marks) if count else ()
            dead, lives = library.dead_marks, world.living_marks
            self.condemned = [i for i, mark in enumerate(each) if mark in dead and self.firsts[i]]
            may_be = [i for i in range(handed_out) if each[i] not in dead]
            may_be += [i for i in range(swept, count) if each[i] in lives]
        self.live = [i for i in may_be if not self.is_free(i)]
        return self

    def load_large(self):
        first = struct.unpack("=Q", self.world.heap_bytes(self.base, WORD))[0]
        mark = (
            self.world.marks(self.base, 1 << self.world.copy.granule_shift)[0]
            if self.world.tables
            else 0
        )
        dead = mark in self.world.copy.dead_marks
        self.data, self.words, self.firsts = None, None, [first]
        self.condemned = [0] if dead else []
        self.live = [0] if not dead and (self.raw or first) else []

    def is_free(self, index):
        first = self.firsts[index]
        if self.raw:
            return first == (self.base + index * self.size) ^ self.world.free_secret
        return first == 0

    def live_types(self):
        """The first words of what is in use, which are types, if it is typed."""
        if self.raw:
            return [0] * len(self.live)
        firsts = self.firsts
        return [firsts[i] for i in self.live]

    def block_words(self, index):
        if self.large:
            return words_of(self.world.heap_bytes(self.base, self.size))
        step = self.size // WORD
        return self.words[index * step : (index + 1) * step]


class Place:
    """A block, by an address in it."""

    def __init__(self, unit, index):
        self.unit, self.index = unit, index
        self.block = unit.base + index * unit.size
        self.size = unit.size


class World:
    """A world as it is now.  Made anew for each command, since the process may have run."""

    def __init__(self, library, address, report):
        self.copy, self.address, self.report = library, address, report
        self.record = library.world.read(address)
        self.id = self.record["store.id"]
        space = library.space.read(library.head["space"])
        self.space = space
        self.space_base, self.space_size = space["base"], space["size"]
        self.free_secret = read_word(library.free_secret)
        self.keep = WORD_MASK ^ self.record["tag_mask"]
        self.tables = bool(self.record["store.tables"])
        self.stopping = bool(self.record["stop.gc_lock"] & 1)
        self.collector = self.read_collector()
        self.living_marks = self.find_living_marks()
        self.cache = {"map": {}, "pools": {}, "ages": {}, "bins": {}, "types": {}, "marks": {}}

    def read_collector(self):
        if not self.record["collector"]:
            return None
        try:
            return self.copy.world.to("collector").read(self.record["collector"])
        except (gdb.MemoryError, KeyError):
            self.report.trouble("the collector of world %d cannot be read" % self.id)
            return None

    def find_living_marks(self):
        """As tarn_mark_lives, and in a stop also what the collection has marked so far."""
        survived, marks = self.copy.mark_survived_bit, set()
        epochs = {self.record["store.epoch"]}
        if self.stopping and self.collector:
            epochs |= {self.collector["marker.epoch"], self.collector["marker.mark"]}
            marks.add(self.copy.mark_watched)
        for epoch in epochs - {0}:
            marks |= {epoch, epoch | survived}
        return frozenset(marks) - self.copy.dead_marks

    def name(self):
        return "world %d" % self.id

    # Memory of the heap, and side tables.  Units that no arena has are not asked for.

    def heap_bytes(self, address, size):
        data, missing = read_sparse(address, size)
        self.report.missing += missing
        return data

    def table(self, name, base, entry, number, span):
        """Bytes of `span` entries of a table, around number `number`; pages never touched are
        zero."""
        first = number // span * span
        cache = self.cache[name]
        if first not in cache:
            cache[first] = read_sparse(base + first * entry, span * entry)[0]
        return cache[first], number - first

    def map_word(self, unit):
        data, at = self.table("map", self.space["map"], WORD, unit, 256)
        return struct.unpack_from("=Q", data, at * WORD)[0]

    def descriptor(self, unit):
        size = self.copy.pool.size
        data, at = self.table("pools", self.space["pools"], size, unit, 256)
        return Record(
            self.copy.pool, self.space["pools"] + unit * size, data[at * size : (at + 1) * size]
        )

    def ages(self, unit):
        if not self.space["collects"]:
            return self.copy.age_young
        data, at = self.table("ages", self.space["ages"], 1, unit, 256)
        return data[at]

    def marks(self, address, size):
        shift = self.copy.granule_shift
        return read_sparse(
            self.space["marks"] + (address - self.space_base >> shift), size >> shift
        )[0]

    def owner(self, unit):
        return read_word(self.space["owners"] + unit * WORD)

    def bin(self, address):
        cache = self.cache["bins"]
        if address not in cache:
            try:
                cache[address] = self.copy.bin.read(address)
            except gdb.MemoryError:
                self.report.trouble("bin 0x%x cannot be read" % address)
                cache[address] = None
        return cache[address]

    # What there is.

    def arenas(self):
        """Records, by their addresses, which rise: so it ends whatever stands there."""
        at, last = self.record["store.arenas"], -1
        while at:
            try:
                arena = self.copy.arena.read(at)
            except gdb.MemoryError:
                self.report.trouble("the record of an arena at 0x%x cannot be read" % at)
                return
            base = arena["base"]
            end = base + (arena["units"] << self.copy.unit_shift)
            if base <= last or not self.holds(base) or end > self.space_base + self.space_size:
                self.report.trouble("the list of arenas is damaged or being changed at 0x%x" % at)
                return
            yield arena
            at, last = arena["next"], base

    def units(self):
        """Those in use."""
        library = self.copy
        for arena in self.arenas():
            first = arena["base"] - self.space_base >> library.unit_shift
            for number in range(first, first + arena["units"]):
                word = self.map_word(number)
                if (
                    word >> library.map_world_shift != self.id
                    or word >> library.map_form_shift & 3 == library.REST
                ):
                    continue
                unit = self.unit(number, word)
                if unit:
                    yield unit

    def unit(self, number, word):
        try:
            return Unit(self, number, word, self.descriptor(number))
        except gdb.MemoryError:
            self.report.trouble(
                "large object 0x%x: its header cannot be read"
                % (self.space_base + (number << self.copy.unit_shift))
            )
        except Trouble as error:
            self.report.trouble(str(error))
        return None

    def loaded(self):
        for unit in self.units():
            try:
                yield unit.load()
            except gdb.MemoryError:
                self.report.trouble("the pool at 0x%x cannot be read" % unit.base)

    def holds(self, address):
        return 0 <= address - self.space_base < self.space_size

    def find(self, address, interior=True):
        """As tarn_find: the place, or None.  Geometry only."""
        if not self.holds(address):
            return None
        library = self.copy
        number = address - self.space_base >> library.unit_shift
        word = self.map_word(number)
        if word >> library.map_world_shift != self.id:
            return None
        if word >> library.map_form_shift & 3 == library.REST:
            number -= word & 0xFFFFFFFF
            if number < 0:
                return None
            word = self.map_word(number)
            if word >> library.map_form_shift & 3 != library.LARGE:
                return None
        unit = self.unit(number, word)
        if not unit:
            return None
        index = (address - unit.base) // unit.size
        if index >= unit.count or (not interior and (address - unit.base) % unit.size):
            return None
        return Place(unit, index)

    def type(self, address):
        """The type, or None if the word is none of this world's."""
        cache = self.cache["types"]
        if address not in cache:
            cache[address] = None
            try:
                kind = Type(self, address)
                if kind.record["world"] == self.address:
                    cache[address] = kind
            except (gdb.MemoryError, ValueError, OverflowError):
                pass
        return cache[address]

    def type_name(self, word):
        kind = self.type(word)
        return kind.name if kind else "(no type: 0x%x)" % word

    def follow(self, head, layout, path, is_good):
        """Records on a list of liburcu."""
        offset = layout.field(path)[0]
        at, seen = read_word(head), set()
        while at != head:
            if at in seen or len(seen) > STEPS_MOST:
                self.report.trouble("a list at 0x%x runs in circles" % head)
                return
            seen.add(at)
            try:
                record = layout.read(at - offset)
            except gdb.MemoryError:
                self.report.trouble(
                    "a list at 0x%x leads to 0x%x, which cannot be read" % (head, at)
                )
                return
            if not is_good(record):
                self.report.trouble(
                    "a list at 0x%x leads to 0x%x, which is none of its sort" % (head, at)
                )
                return
            yield record
            at = record[path + ".next"]

    def threads(self):
        """Those attached.  One that is just being attached is none yet."""
        return self.follow(
            self.record.at("registry.list"),
            self.copy.mutator,
            "node",
            lambda record: record["world"] == self.address,
        )

    def types(self):
        records = self.follow(
            self.record.at("types.list"),
            self.copy.type,
            "node",
            lambda record: record["check"] == record.address ^ self.copy.type_check,
        )
        for record in records:
            kind = self.type(record.address)
            if kind:
                yield kind

    def heaps(self):
        limit = min(
            self.record["store.heap_limit"],
            self.copy.world.field("store.heaps")[1].sizeof // WORD,
        )
        for at in words_of(read(self.record.at("store.heaps"), limit * WORD)):
            if at:  # slots of heaps that are gone
                try:
                    yield self.copy.heap.read(at)
                except gdb.MemoryError:
                    self.report.trouble("heap 0x%x cannot be read" % at)

    def heap_name(self, at):
        for heap in self.heaps():
            if heap.address == at:
                return "heap %d" % heap["index"]
        return "heap 0x%x, which is none" % at

    def table_entries(self, path):
        """Live entries of a table of roots."""
        capacity = self.record[path + ".capacity"]
        size = self.copy.root.size
        if capacity > STEPS_MOST * 16 or capacity & capacity - 1:
            self.report.trouble("a table of roots says that it has %d places" % capacity)
            return
        try:
            data = read(self.record[path + ".entries"], capacity * size)
        except gdb.MemoryError:
            self.report.trouble(
                "the table of roots at 0x%x cannot be read" % self.record[path + ".entries"]
            )
            return
        for i in range(capacity):
            entry = Record(self.copy.root, 0, data[i * size : (i + 1) * size])
            if entry["key"] not in (0, self.copy.root_gone):
                yield entry

    def frames(self, mutator):
        """(address of the variable, value or None) of each slot of a thread's frames."""
        at, seen = mutator["local.pub.tarn_frames"], set()
        while at:
            if at in seen or len(seen) > STEPS_MOST:
                self.report.trouble("the frames of thread %d run in circles" % mutator["id"])
                return
            seen.add(at)
            try:
                frame = self.copy.frame.read(at)
                count = min(frame["count"], 1 << 16)
                if count != frame["count"]:
                    self.report.trouble(
                        "a frame at 0x%x says that it has %d slots" % (at, frame["count"])
                    )
                slots = words_of(read(frame["slots"], count * WORD))
            except gdb.MemoryError:
                self.report.trouble(
                    "a frame of thread %d at 0x%x cannot be read" % (mutator["id"], at)
                )
                return
            for slot in slots:
                if not slot:
                    continue
                try:
                    yield slot, read_word(slot)
                except gdb.MemoryError:
                    yield slot, None
            at = frame["previous"]

    def stack(self, mutator):
        """(address, words) of what is scanned conservatively of a thread."""
        if not mutator["scan_stack"]:
            return
        low, high = mutator["stack_low"], mutator["stack_high"]
        if not low:
            low = stack_pointer_of(mutator["id"])
        else:
            size = mutator.layout.field("saved")[1].sizeof
            yield mutator.at("saved"), words_of(read(mutator.at("saved"), size))
        if not low or not low <= high <= low + (1 << 30):
            self.report.trouble("where the stack of thread %d ends is not known" % mutator["id"])
            return
        low = (low + WORD - 1) // WORD * WORD
        data, _ = read_sparse(low, (high - low) // WORD * WORD)
        yield low, words_of(data)

    def due_finalizers(self, which="due"):
        """(object, function) of finalizers on a list."""
        if not self.collector:
            return
        layout = None
        at, seen = self.collector["finalizers.%s.first" % which], set()
        while at and at not in seen and len(seen) < STEPS_MOST:
            seen.add(at)
            try:
                layout = layout or self.collector.layout.to("finalizers.due.first")
                node = layout.read(at)
            except (gdb.MemoryError, KeyError):
                self.report.trouble("a finalizer at 0x%x cannot be read" % at)
                return
            yield node["object"], node["fn"]
            at = node["next"]

    def weak_tables(self):
        """(table's address, kind, [(key, value)])."""
        if not self.collector:
            return
        at, seen = self.collector["tables.list"], set()
        while at and at not in seen and len(seen) < STEPS_MOST:
            seen.add(at)
            try:
                layout = self.collector.layout.to("tables.list")
                table = layout.read(at)
                kind = names_of(layout.field("kind")[1], "TARN_WEAK_").get(table["kind"], "?")
                yield at, kind, self.weak_entries(table)
            except (gdb.MemoryError, KeyError):
                self.report.trouble("the weak table at 0x%x cannot be read" % at)
                return
            at = table["next"]

    def weak_entries(self, table):
        offset, shards = table.layout.field("shards")
        layout, pairs = Layout(shards.target()), []
        for i in range(shards.sizeof // layout.size):
            start = offset + i * layout.size
            shard = Record(layout, table.address + start, table.data[start : start + layout.size])
            if not 0 < shard["capacity"] <= STEPS_MOST * 16:
                continue
            entry = layout.to("entries")
            words = words_of(read(shard["entries"], shard["capacity"] * entry.size)).tolist()
            step, key, value = (
                entry.size // WORD,
                entry.field("key")[0] // WORD,
                entry.field("value")[0] // WORD,
            )
            # A removed entry has no key.
            pairs += [(k, v) for k, v in zip(words[key::step], words[value::step]) if k]
        return pairs

    def weak_handles(self):
        """(handle, object)."""
        if not self.collector or not self.collector["cycles.handles.buckets"]:
            return
        count = min(self.collector["cycles.handles.bucket_count"], STEPS_MOST * 16)
        try:
            layout = Layout(
                self.collector.layout.field("cycles.handles.buckets")[1].target().target()
            )
            for at in words_of(read(self.collector["cycles.handles.buckets"], count * WORD)):
                seen = set()
                while at and at not in seen and len(seen) < STEPS_MOST:
                    seen.add(at)
                    handle = layout.read(at)
                    yield at, handle["object"]
                    at = handle["next"]
        except (gdb.MemoryError, KeyError):
            self.report.trouble("the weak handles cannot be read")


def worlds(report):
    """All worlds of all copies."""
    need_memory()
    found = []
    for library in libraries():
        seen = set()
        try:
            at = read_word(read_word(library.head["worlds"]))
        except gdb.MemoryError:
            report.trouble("the list of worlds of %s cannot be read" % library.name)
            continue
        while at and at not in seen and len(seen) < STEPS_MOST:
            seen.add(at)
            try:
                world = World(library, at, report)
            except gdb.MemoryError:
                report.trouble("the world at 0x%x cannot be read" % at)
                break
            found.append(world)
            at = world.record["next"]
    if not found:
        raise Trouble("there is no world yet, or none any more")
    return found


def world_of(found, text):
    """By its number or its address."""
    number = value_of(text)
    chosen = [world for world in found if number in (world.id, world.address)]
    if not chosen:
        raise Trouble("there is no world %s" % text)
    return chosen


def value_of(text):
    """An address from an expression."""
    try:
        value = gdb.parse_and_eval(text)
        if plain(value.type).code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC):
            value = value.address
        return int(value) & WORD_MASK
    except gdb.error as error:
        raise Trouble("%s: %s" % (text, str(error).rstrip("."))) from None


def gdb_threads():
    """gdb's threads by the kernel's numbers."""
    return {
        thread.ptid[1]: thread for thread in gdb.selected_inferior().threads() if thread.is_valid()
    }


def stack_pointer_of(kernel_id):
    """Of a thread that does not stand still for a collection; 0: not known."""
    thread, before = gdb_threads().get(kernel_id), gdb.selected_thread()
    if not thread or not before:
        return 0
    frame = gdb.selected_frame() if before.is_stopped() else None
    try:
        thread.switch()
        return int(gdb.newest_frame().read_register("sp")) & WORD_MASK
    except (gdb.error, ValueError):
        return 0
    finally:
        before.switch()
        if frame and frame.is_valid():
            frame.select()


# --- tarn heap -------------------------------------------------------------------------------


def collection_text(world):
    if not world.stopping:
        return ""
    return "; a stop is on or about to be, so what is said to be in use may be dead, or be changing"


def print_world(world):
    record, library = world.record, world.copy
    count = sum(1 for _ in world.heaps())
    kind = (
        "counts references"
        if record["config.counting"]
        else "collected"
        if world.collector
        else "not collected"
    )
    limit = record["store.limit"]
    print(
        "%s at 0x%x in %s: %s, %s, %s, %s, %s"
        % (
            world.name(),
            world.address,
            library.name,
            kind,
            count_text(count, "heap"),
            count_text(record["types.count"], "type"),
            count_text(record["registry.count"], "thread"),
            bytes_text(record["store.bytes"])
            + (" held" if limit == WORD_MASK else " held of at most %s" % format(limit, ",")),
        )
    )
    collections_ = world.collector["collections"] if world.collector else 0
    print(
        "  %s, %s not swept, %s waiting for `free` functions%s"
        % (
            count_text(collections_, "collection"),
            count_text(record["store.unswept"], "pool"),
            count_text(
                sum(heap["condemned"] for heap in world.heaps()),
                "pool or large object",
                "pools and large objects",
            ),
            collection_text(world),
        )
    )


class Sum:
    def __init__(self):
        self.pools = self.capacity = self.live = self.condemned = self.owned = self.unswept = 0
        self.ages = [0, 0, 0]


def print_heap(world, heap, sums, larges):
    name = {0: "atomic", 1: "container"}.get(heap["kind"], "?")
    print("  heap %d at 0x%x, %s" % (heap["index"], heap.address, name))
    rows = sorted((key[1:], total) for key, total in sums.items() if key[0] == heap.address)
    if rows:
        print(
            "    %-18s %6s %6s %6s %6s %6s %6s %8s %10s %10s %14s"
            % (
                "pools of",
                "block",
                "pools",
                "gen 0",
                "gen 1",
                "gen 2",
                "owned",
                "unswept",
                "in use",
                "of",
                "bytes in use",
            )
        )
    for (flavour, size), total in rows:
        print(
            "    %-18s %6d %6d %6d %6d %6d %6d %8d %10d %10d %14s%s"
            % (
                world.copy.flavours.get(flavour, "?"),
                size,
                total.pools,
                *total.ages,
                total.owned,
                total.unswept,
                total.live,
                total.capacity,
                format(total.live * size, ","),
                " and %d condemned" % total.condemned if total.condemned else "",
            )
        )
    mine = larges.get(heap.address, [])
    if mine:
        live = [unit for unit in mine if unit.live]
        print(
            "    %s, %d in use, %s"
            % (
                count_text(len(mine), "large object"),
                len(live),
                bytes_text(sum(unit.size for unit in live)),
            )
        )
    if not rows and not mine:
        print("    empty")


def heap_command(arguments, report):
    found = worlds(report)
    if len(arguments) > 1:
        raise Trouble("usage: tarn heap [WORLD]")
    for world in world_of(found, arguments[0]) if arguments else found:
        print_world(world)
        sums, larges = {}, {}
        unswept = [number for number, name in world.copy.lists.items() if name == "unswept"]
        for unit in world.loaded():
            if unit.large:
                larges.setdefault(unit.pool["heap"] or unit.large["heap"], []).append(unit)
                continue
            total = sums.setdefault((unit.pool["heap"], unit.pool["flavour"], unit.size), Sum())
            total.pools += 1
            total.ages[unit.age()] += 1
            total.capacity += unit.count
            total.live += len(unit.live)
            total.condemned += len(unit.condemned)
            total.owned += world.owner(unit.number) != 0
            total.unswept += unit.pool["list"] in unswept
        heaps = list(world.heaps())
        for heap in heaps:
            print_heap(world, heap, sums, larges)
        known = {heap.address for heap in heaps}
        strays = sum(total.pools for key, total in sums.items() if key[0] not in known)
        if strays:
            report.trouble(
                "%s in no heap of the world" % count_text(strays, "pool is", "pools are")
            )


# --- tarn object -----------------------------------------------------------------------------


def describe(world, address):
    """A block that a word names, in words, or ''."""
    place = world.find(address & world.keep)
    if not place:
        return ""
    first = struct.unpack("=Q", world.heap_bytes(place.block, WORD))[0]
    name = "raw" if place.unit.raw else "free" if first == 0 else world.type_name(first)
    inside = (address & world.keep) - place.block
    return "0x%x%s %s" % (place.block, "+%d" % inside if inside else "", name)


def state_of(world, unit, index):
    if index in unit.live:
        return "in use"
    if index in unit.condemned:
        return "condemned: dead, and its `free` function has not run yet"
    if not unit.large and unit.base + index * unit.size >= unit.base + unit.pool["own.virgin"]:
        return "free: never handed out"
    return "free, or dead and not swept yet"


def mark_of(world, block):
    return world.marks(block, 1 << world.copy.granule_shift)[0] if world.tables else 0


def generation_of(world, block):
    """Of a block: that of the youngest collection which looks at it."""
    mark, epoch = mark_of(world, block), world.record["store.epoch"]
    if not epoch or mark not in (epoch, epoch | world.copy.mark_survived_bit):
        return 0
    return 2 if mark == epoch else 1


def mark_text(world, block):
    mark, epoch = mark_of(world, block), world.record["store.epoch"]
    if not world.tables:
        return "no collection yet"
    if mark == 0:
        return "not marked: made since the last collection, or free"
    if mark in world.copy.dead_marks:
        return "marked as dead"
    if mark == epoch:
        return "marked by the last collection that looked at it"
    if epoch and mark == epoch | world.copy.mark_survived_bit:
        return "marked: survived one collection, of generation 0"
    if mark in world.living_marks:
        return "marked by the collection that is on"
    return "mark byte %d, of an earlier collection" % mark


def print_words(world, kind, words):
    count = kind.elements(words, len(words) * WORD)
    total = min(len(words), max((kind.size + WORD - 1) // WORD, 1))
    if kind.is_array:
        total = min(len(words), (kind.size + count * kind.element_size + WORD - 1) // WORD)
    for i in range(min(total, 2 * LINES)):
        name, sort = kind.slot(i, count)
        if i == 0:
            value = "0x%x %s" % (words[0], kind.name)
        else:
            target = describe(world, words[i]) if sort != "raw" and words[i] else ""
            value = "0x%x%s" % (words[i], " -> " + target if target else "")
        shown = {"strong": "traced", "raw": "raw", "maybe": "up to its trace function"}.get(
            sort, sort
        )
        print("  +%-4d %-24s %-7s %s" % (i * WORD, name, shown if name != "type" else "", value))
    if total > 2 * LINES:
        print("  %s more" % count_text(total - 2 * LINES, "word"))


def print_raw(words):
    for i in range(min(len(words), 8)):
        print("  +%-4d 0x%016x" % (i * WORD, words[i]))


def print_place(world, place, address):
    unit = place.unit.load()
    index = place.index
    inside = address - place.block
    where = "" if not inside else "0x%x is %s into " % (address, bytes_text(inside))
    first = struct.unpack("=Q", world.heap_bytes(place.block, WORD))[0]
    kind = None if unit.raw or first == 0 else world.type(first)
    what = "a raw block" if unit.raw else "an object of type %s" % kind.name if kind else "a block"
    state = state_of(world, unit, index)
    print("%s%s at 0x%x: %s" % (where, what, place.block, state))
    if not kind and not unit.raw and first:
        print("  its first word, 0x%x, is no type of %s" % (first, world.name()))
    print(
        "  %s, %s, %s"
        % (
            world.name(),
            world.heap_name(unit.pool["heap"]),
            "large" if unit.large else bytes_text(place.size),
        )
    )
    if unit.large:
        print("  large object of %s, header 0x%x" % (bytes_text(unit.size), unit.large.address))
    else:
        print_pool_line(world, unit)
    print(
        "  generation %d; %s" % (generation_of(world, place.block), mark_text(world, place.block))
    )
    if kind:
        print_kind_line(world, kind, unit.block_words(index))
        print_words(world, kind, unit.block_words(index))
    elif unit.raw and state == "in use":
        print_raw(words_of(world.heap_bytes(place.block, min(place.size, 64))))


def print_pool_line(world, unit):
    library, owner = world.copy, world.owner(unit.number)
    text = "  pool 0x%x, descriptor 0x%x: %s, list %s, generation %d, %d of %d blocks in use" % (
        unit.base,
        unit.pool.address,
        library.flavours.get(unit.pool["flavour"], "?"),
        library.lists.get(unit.pool["list"], "?"),
        unit.age(),
        len(unit.live),
        unit.count,
    )
    if owner:
        try:
            text += ", owned by thread %d" % library.mutator.read(owner)["id"]
        except gdb.MemoryError:
            text += ", owner 0x%x" % owner
    print(text)


def print_kind_line(world, kind, words):
    if kind.traces:
        print("  its type has a trace function, %s, which is not run" % named(kind.record["trace"]))
    if world.record["config.counting"] and kind.record["refs_at"]:
        at, size = kind.record["refs_at"], kind.record["refs_size"]
        data = words.tobytes()[at : at + size]
        print(
            "  %s to it"
            % count_text(
                int.from_bytes(data, "little"), "reference is counted", "references are counted"
            )
        )


def print_no_block(found, address):
    """Says what an address is that is in no block."""
    for world in found:
        kind = world.type(address)
        if kind:
            print("0x%x is the type %s of %s" % (address, kind.name, world.name()))
            return
        if address == world.address:
            print("0x%x is %s itself" % (address, world.name()))
            return
        for mutator in world.threads():
            if address == mutator.address:
                print("0x%x is the tarn_thread of thread %d" % (address, mutator["id"]))
                return
        if any(heap.address == address for heap in world.heaps()):
            print("0x%x is %s of %s" % (address, world.heap_name(address), world.name()))
            return
    for world in found:
        if world.holds(address):
            print_no_block_inside(found, world, address)
            return
    name = symbol_of(address)
    print("0x%x is not in the heap range%s" % (address, ": " + name if name else ""))


def print_no_block_inside(found, world, address):
    library = world.copy
    word = world.map_word(address - world.space_base >> library.unit_shift)
    if word == 0:
        print("0x%x is in the heap range, in memory that holds no block" % address)
    elif word >> library.map_world_shift in [
        other.id for other in found if other.copy is library
    ]:
        print("0x%x is in world %d, between blocks" % (address, word >> library.map_world_shift))
    else:
        print("0x%x is in memory of blocks that are gone" % address)


def object_command(arguments, report):
    if len(arguments) != 1:
        raise Trouble("usage: tarn object ADDRESS")
    found = worlds(report)
    address = value_of(arguments[0])
    for world in found:
        place = world.find(address)
        if not place and world.keep != WORD_MASK and address & ~world.keep:
            place = world.find(address & world.keep)
            if place:
                print("0x%x has tag bits 0x%x" % (address, address & ~world.keep & WORD_MASK))
                address &= world.keep
        if place:
            print_place(world, place, address)
            return
    print_no_block(found, address)


# --- tarn find -------------------------------------------------------------------------------


def print_counts(world, counts):
    rows = []
    for word, (count, size) in counts.items():
        name = word if isinstance(word, str) else world.type_name(word)
        rows.append((count, size, name, "" if isinstance(word, str) else "0x%x" % word))
    rows.sort(key=lambda row: (-row[1], row[2]))
    print(
        "%s: %s of %s in use"
        % (
            world.name(),
            count_text(sum(row[0] for row in rows), "block"),
            count_text(len(rows), "type"),
        )
    )
    print("  %10s %14s  %s" % ("blocks", "bytes", "type"))
    for count, size, name, at in rows[: 5 * LINES]:
        line = "  %10s %14s  %s %s" % (format(count, ","), format(size, ","), name, at)
        print(line.rstrip())
    if len(rows) > 5 * LINES:
        print("  %s more" % count_text(len(rows) - 5 * LINES, "type"))


def count_types(world):
    counts = {}
    for unit in world.loaded():
        for word, count in collections.Counter(unit.live_types()).items():
            key = "raw" if unit.raw else word
            before = counts.get(key, (0, 0))
            counts[key] = before[0] + count, before[1] + count * unit.size
    print_counts(world, counts)


def find_type(world, name, number, limit):
    """Prints those of one name or address; false: the world has no such type."""
    shown = total = size = 0
    wanted = {}
    for unit in world.loaded():
        if unit.raw:
            if name == "raw":
                hits = unit.live
            else:
                continue
        else:
            for word in set(unit.firsts):
                if word and word not in wanted:
                    kind = world.type(word)
                    wanted[word] = word == number or (kind is not None and kind.name == name)
            if not any(wanted.get(word) for word in set(unit.firsts)):
                continue
            hits = [i for i in unit.live if wanted[unit.firsts[i]]]
        for i in hits[: max(0, limit - shown)]:
            block = unit.base + i * unit.size
            print(
                "  0x%x  %s  generation %d"
                % (block, bytes_text(unit.size), generation_of(world, block))
            )
            shown += 1
        total += len(hits)
        size += len(hits) * unit.size
    known = (
        total
        or name == "raw"
        or any(kind.name == name or kind.address == number for kind in world.types())
    )
    if number is not None and world.type(number):
        name = world.type_name(number)
    if known:
        more = " (%d shown)" % shown if shown < total else ""
        print(
            "%s: %s of type %s, %s%s"
            % (
                world.name(),
                count_text(total, "block" if name == "raw" else "object"),
                name,
                bytes_text(size),
                more,
            )
        )
    return bool(known)


def number_or_none(text):
    """The address of a type; a name that gdb knows as something else is a name."""
    try:
        return value_of(text) if re.match(r"[\d$&*(]", text) else None
    except Trouble:
        return None


def find_command(arguments, report):
    if len(arguments) > 2:
        raise Trouble("usage: tarn find [TYPE [LIMIT]]")
    found = worlds(report)
    if not arguments:
        for world in found:
            count_types(world)
        return
    limit = value_of(arguments[1]) if len(arguments) > 1 else LINES
    known = [find_type(world, arguments[0], number_or_none(arguments[0]), limit) for world in found]
    if not any(known):
        raise Trouble(
            "no world has a type %s; `tarn find` without a name counts all" % arguments[0]
        )


# --- tarn retainers --------------------------------------------------------------------------


class Targets:
    """Blocks of a world that words are compared with."""

    def __init__(self, world, places):
        self.world = world
        self.places = sorted(
            {place.block: place for place in places}.values(), key=lambda p: p.block
        )
        self.starts = [place.block for place in self.places]
        self.low = self.starts[0]
        self.high = max(place.block + place.size for place in self.places)

    def named_by(self, word):
        """(block, is it its start) of the target that the word, tag bits aside, points into."""
        i = bisect.bisect_right(self.starts, word) - 1
        if i >= 0 and word - self.starts[i] < self.places[i].size:
            return self.starts[i], word == self.starts[i]
        return None

    def hits(self, words):
        """[(number of the word, block, is it the start)]"""
        low, high, keep = self.low, self.high, self.world.keep
        if keep == WORD_MASK:
            near = [(i, word) for i, word in enumerate(words) if low <= word < high]
        else:
            near = [(i, word & keep) for i, word in enumerate(words) if low <= word & keep < high]
        found = []
        for i, word in near:
            hit = self.named_by(word)
            if hit:
                found.append((i, *hit))
        return found


SORTS = {
    "strong": "",
    "weak": " (weak: does not keep it)",
    "key": " (key of an ephemeron: does not keep it)",
    "value": " (value of an ephemeron: keeps it while the key lives)",
    "maybe": " (maybe: its trace function was not run)",
}


class Retainer:
    def __init__(self, text, block=None):
        self.text, self.block = text, block


def data_hits(world, targets, kind, words):
    """References from the block of data of an object."""
    if not kind.data_size or kind.data_word >= len(words):
        return
    place = world.find(words[kind.data_word], interior=False)
    if not place or place.size < kind.data_size:
        return
    data = words_of(world.heap_bytes(place.block, kind.data_size))
    for word, block, start in targets.hits(data):
        if start and kind.traced("data", word):
            yield block, "data word %d" % word, "strong"


def object_hits(world, targets, kind, words, hits):
    """(block, where, sort) of each reference among the hits in an object."""
    count = kind.elements(words, len(words) * WORD)
    for word, block, start in hits:
        name, sort = kind.slot(word, count)
        if sort == "raw" or (not start and sort != "maybe"):
            continue
        yield block, name, sort
    yield from data_hits(world, targets, kind, words)


def large_hits(world, targets, unit):
    """As Targets.hits, of a large object, in pieces."""
    found = []
    for at in range(0, unit.size, CHUNK):
        words = words_of(world.heap_bytes(unit.base + at, min(CHUNK, unit.size - at)))
        found += [(i + at // WORD, block, start) for i, block, start in targets.hits(words)]
    return found


def hits_by_block(world, targets, unit):
    """The hits in each block in use of a unit, by the block's number."""
    by_block = {}
    if unit.large:
        by_block[0] = large_hits(world, targets, unit)
    else:
        step = unit.size // WORD
        for word, block, start in targets.hits(unit.words):
            by_block.setdefault(word // step, []).append((word % step, block, start))
    # Those whose data block lies elsewhere are looked at whatever is in them.
    with_data = {
        word for word in set(unit.firsts) if word and (kind := world.type(word)) and kind.data_size
    }
    if with_data:
        for i in unit.live:
            if unit.firsts[i] in with_data:
                by_block.setdefault(i, [])
    return by_block


def retaining_objects(world, targets, tell):
    for unit in world.loaded():
        if unit.kind != world.copy.CONTAINER:
            continue
        by_block = hits_by_block(world, targets, unit)
        live = set(unit.live) if by_block else ()
        for index in sorted(by_block):
            kind = world.type(unit.firsts[index])
            if index not in live or not kind or not kind.may_refer():
                continue
            block = unit.base + index * unit.size
            words = unit.block_words(index)
            for target, where, sort in object_hits(world, targets, kind, words, by_block[index]):
                # A weak reference is where the way ends.
                goes_on = block if sort in ("strong", "maybe", "value") else None
                tell(
                    target,
                    Retainer("0x%x %s, %s%s" % (block, kind.name, where, SORTS[sort]), goes_on),
                )


def retaining_roots(world, targets, tell):
    def look(word, text):
        hit = targets.named_by(word & world.keep) if word is not None else None
        if hit and hit[1]:
            tell(hit[0], Retainer(text))

    for entry in world.table_entries("roots.slots"):
        try:
            look(read_word(entry["key"]), "root slot %s" % named(entry["key"]))
        except gdb.MemoryError:
            world.report.trouble("root slot 0x%x cannot be read" % entry["key"])
    for mutator in world.threads():
        title = "thread %d %s" % (mutator["id"], mutator.text("name"))
        for slot, value in world.frames(mutator):
            look(value, "frame of %s, variable at 0x%x" % (title, slot))
        try:
            for at, words in world.stack(mutator):
                for i, block, _ in targets.hits(words):
                    tell(
                        block,
                        Retainer("stack of %s at 0x%x (conservative)" % (title, at + i * WORD)),
                    )
        except gdb.MemoryError:
            world.report.trouble("the stack of thread %d cannot be read" % mutator["id"])
    for target, fn in world.due_finalizers():
        look(target, "finalizer %s, which is due" % named(fn))
    for target, fn in world.due_finalizers("added"):
        look(target, "finalizer %s (waits for its death: does not keep it)" % named(fn))
    for handle, target in world.weak_handles():
        look(target, "weak handle 0x%x (weak: does not keep it)" % handle)
    retaining_tables(world, look)


def retaining_tables(world, look):
    key_text = {
        "set": " (weak: does not keep it)",
        "keys": " (weak key: does not keep it)",
        "values": "",
    }
    for at, kind, pairs in world.weak_tables():
        for key, value in pairs:
            look(key, "key in weak table 0x%x%s" % (at, key_text.get(kind, "")))
            if kind == "keys":
                look(value, "value in weak table 0x%x (keeps it while its key lives)" % at)
            elif kind == "values":
                look(value, "value in weak table 0x%x (weak: does not keep it)" % at)


def find_retainers(world, places):
    """Retainers by the block that they refer to."""
    found = {}

    def tell(block, retainer):
        found.setdefault(block, []).append(retainer)

    targets = Targets(world, places)
    retaining_roots(world, targets, tell)
    retaining_objects(world, targets, tell)
    return found


def print_retainers(found, block):
    """As a tree; as deep as it is, so the way back to the root is no recursion."""
    seen, ways = {block}, [(block, iter(found.get(block, [])[:LINES]))]
    while ways:
        block, left = ways[-1]
        indent = "  " * len(ways)
        retainer = next(left, None)
        if not retainer:
            ways.pop()
            if len(found.get(block, [])) > LINES:
                print("%s<- %s more" % (indent, format(len(found[block]) - LINES, ",")))
            continue
        above = retainer.block in seen and bool(found.get(retainer.block))
        print("%s<- %s%s" % (indent, retainer.text, " (see above)" if above else ""))
        if retainer.block and retainer.block not in seen:
            seen.add(retainer.block)
            ways.append((retainer.block, iter(found.get(retainer.block, [])[:LINES])))


def note_what_is_not_known(world):
    providers = sum(1 for _ in world.table_entries("roots.providers"))
    if providers:
        print(
            "%s not asked: what they name is not known (tarn roots lists them)"
            % count_text(providers, "root provider was", "root providers were")
        )
    if world.record["config.counting"]:
        print("references that the program counts from outside the heap are not known")


def retainers_command(arguments, report):
    if not 1 <= len(arguments) <= 2:
        raise Trouble("usage: tarn retainers ADDRESS [DEPTH]")
    depth = value_of(arguments[1]) if len(arguments) > 1 else 1
    if not 1 <= depth <= 1000:
        raise Trouble("the depth is a number from 1 to 1000")
    address = value_of(arguments[0])
    found_worlds = worlds(report)
    places = [(world, world.find(address & world.keep)) for world in found_worlds]
    places = [(world, place) for world, place in places if place]
    if not places:
        print_no_block(found_worlds, address)
        return
    world, place = places[0]
    print("%s, in %s%s" % (describe(world, place.block), world.name(), collection_text(world)))
    found, level = {}, [place]
    for _ in range(depth):
        level = level[:LEVEL_MOST]
        found.update(find_retainers(world, level))
        blocks = {retainer.block for p in level for retainer in found.get(p.block, [])[:LINES]}
        done = found.keys() | {p.block for p in level}
        level = [world.find(block) for block in sorted(b for b in blocks if b and b not in done)]
        level = [p for p in level if p]
        if not level:
            break
    print_retainers(found, place.block)
    if not found.get(place.block):
        print("  nothing that is known refers to it")
    note_what_is_not_known(world)


# --- tarn threads, tarn roots ----------------------------------------------------------------


def states(library):
    return {
        library.state_detached: "detached",
        library.state_running: "running",
        library.state_blocked: "blocked",
        library.state_stopped: "stopped",
    }


def poll_text(library, poll):
    bits = (
        (library.poll_stop, "stop"),
        (library.poll_release, "release"),
        (library.poll_detached, "detached"),
        (library.poll_collect, "collect"),
    )
    return ",".join(name for bit, name in bits if poll & bit) or "-"


def bins_in_use(world, mutator):
    """Bins that have a pool."""
    size, used = world.copy.bin.size, 0
    at = world.copy.bin.field("head.pool")[0] // WORD
    offset, kind = mutator.layout.field("local.bins")
    words = words_of(mutator.data[offset : offset + kind.sizeof])
    used += sum(1 for word in words[at :: size // WORD] if word)
    offset, kind = mutator.layout.field("local.more")
    bins = plain(kind.target().target()).sizeof * len(world.copy.flavours)
    for more in words_of(mutator.data[offset : offset + kind.sizeof]):
        if more:
            try:
                used += sum(1 for word in words_of(read(more, bins))[at :: size // WORD] if word)
            except gdb.MemoryError:
                world.report.trouble("bins at 0x%x cannot be read" % more)
    return used


def threads_command(arguments, report):
    if arguments:
        raise Trouble("usage: tarn threads")
    selected = gdb.selected_thread()
    selected_id = selected.ptid[1] if selected else 0
    known = gdb_threads()
    for world in worlds(report):
        print(
            "%s: %s attached%s"
            % (
                world.name(),
                count_text(world.record["registry.count"], "thread"),
                collection_text(world),
            )
        )
        print(
            "  %4s %8s %-16s %-9s %-12s %5s %7s %5s %6s %5s  %s"
            % (
                "gdb",
                "tid",
                "name",
                "state",
                "poll",
                "holds",
                "blocked",
                "bins",
                "frames",
                "stack",
                "tarn_thread",
            )
        )
        for mutator in world.threads():
            thread = known.get(mutator["id"])
            print(
                "%s %4s %8d %-16s %-9s %-12s %5d %7d %5d %6d %5s  0x%x"
                % (
                    "*" if mutator["id"] == selected_id else " ",
                    thread.num if thread else "-",
                    mutator["id"],
                    mutator.text("name") or "-",
                    states(world.copy).get(mutator["state"], "?"),
                    poll_text(world.copy, mutator["local.pub.tarn_poll"]),
                    mutator["local.pub.tarn_holds"],
                    mutator["blocked"],
                    bins_in_use(world, mutator),
                    sum(1 for _ in world.frames(mutator)),
                    "scan" if mutator["scan_stack"] else "-",
                    mutator.address,
                )
            )
            if mutator["held_at"]:
                print("       in a hold that began at %s" % named(mutator["held_at"]))


def print_root(world, title, value):
    if value is None:
        print("  %s: cannot be read" % title)
        return
    target = describe(world, value) if value else ""
    print(
        "  %s: 0x%x%s"
        % (title, value, " -> " + target if target else "" if not value else ", no block")
    )


def roots_command(arguments, report):
    if arguments:
        raise Trouble("usage: tarn roots")
    for world in worlds(report):
        print("%s%s" % (world.name(), collection_text(world)))
        entries = list(world.table_entries("roots.slots"))
        print("%s" % count_text(len(entries), "global slot"))
        for entry in sorted(entries, key=lambda e: e["key"])[: 5 * LINES]:
            try:
                value = read_word(entry["key"])
            except gdb.MemoryError:
                value = None
            print_root(world, named(entry["key"]), value)
        if len(entries) > 5 * LINES:
            print("  %s more" % format(len(entries) - 5 * LINES, ","))
        providers = list(world.table_entries("roots.providers"))
        print(count_text(len(providers), "provider"))
        for entry in providers[: 5 * LINES]:
            print("  %s with 0x%x (not run)" % (named(entry["key"]), entry["data"]))
        for mutator in world.threads():
            print_thread_roots(world, mutator)
        due = list(world.due_finalizers())
        if due:
            print(count_text(len(due), "finalizer is due", "finalizers are due"))
            for target, fn in due[:LINES]:
                print_root(world, named(fn), target)
        strong = sum(len(pairs) for _, kind, pairs in world.weak_tables() if kind == "values")
        if strong:
            print("%s of tables with weak values" % count_text(strong, "key"))


def print_thread_roots(world, mutator):
    slots = list(world.frames(mutator))
    scanned = ", and its stack is scanned" if mutator["scan_stack"] else ""
    print(
        "thread %d %s: %s in frames%s"
        % (mutator["id"], mutator.text("name"), count_text(len(slots), "root"), scanned)
    )
    for slot, value in slots[: 5 * LINES]:
        print_root(world, "variable at 0x%x" % slot, value)
    if len(slots) > 5 * LINES:
        print("  %s more" % format(len(slots) - 5 * LINES, ","))


# --- commands --------------------------------------------------------------------------------

HELP = """\
tarn heap [WORLD]                worlds, heaps, pools by size and generation, large objects
tarn object ADDRESS              the block that an address points to or into, and its words
tarn find [TYPE [LIMIT]]         objects of a type, by its name or address; without: counts by type
tarn retainers ADDRESS [DEPTH]   who refers to an object: objects, root slots, frames, weak ones
tarn threads                     attached threads: state, poll word, holds, bins, frames
tarn roots                       global slots, providers, frames, finalizers that are due
tarn help                        this

ADDRESS is any expression of gdb's, in quotes if it has spaces.  Nothing is run in the process, so
everything works on core files.  Structures print as a line; use print/r for their fields."""


def help_command(arguments, report):
    print(HELP)


class TarnPrefix(gdb.Command):
    """Looks at worlds, heaps, objects, threads and roots of Tarn; see `tarn help`."""

    def __init__(self):
        super().__init__("tarn", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, text, from_tty):
        print("tarn: no such command: %s" % text if text else HELP)


class TarnCommand(gdb.Command):
    def __init__(self, name, function, doc):
        self.__doc__ = doc
        self.function = function
        super().__init__("tarn " + name, gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, text, from_tty):
        self.dont_repeat()
        report = Report()
        try:
            self.function(gdb.string_to_argv(text), report)
        except Trouble as error:
            print("tarn: %s" % error)
        except gdb.MemoryError as error:
            print("tarn: %s" % str(error).rstrip("."))
        except gdb.error as error:
            print("tarn: gdb says: %s" % str(error).rstrip("."))
        except (
            KeyError,
            IndexError,
            ValueError,
            ArithmeticError,
            AttributeError,
            TypeError,
            RecursionError,
            MemoryError,
            struct.error,
        ) as error:
            print("tarn: what was read makes no sense (%s: %s)" % (type(error).__name__, error))
        report.end()


# --- pretty-printers -------------------------------------------------------------------------


class Printer:
    """One line for a structure.  Reads fields of the value, so it works wherever gdb has one."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            return self.line(self.value)
        except gdb.MemoryError as error:
            return "<cannot be read: %s>" % error
        except (gdb.error, Trouble) as error:
            return "<%s>" % error


def address_of(value):
    return int(value.address) if value.address is not None else 0


def text_of(value):
    """An array of characters up to its end, in what may be printed."""
    data = bytes(int(value[i]) & 0xFF for i in range(plain(value.type).sizeof))
    return clean(data.split(b"\0")[0])


def one_library():
    found = find_libraries()
    if not found:
        raise gdb.error("libtarn has no debug information")
    return found[0]


class WorldPrinter(Printer):
    def line(self, value):
        store = value["store"]
        return "world %d: %s, %s in %s and %s" % (
            int(store["id"]),
            count_text(int(value["registry"]["count"]), "thread"),
            bytes_text(int(store["bytes"])),
            count_text(int(store["pools"]), "pool"),
            count_text(int(store["larges"]), "large object"),
        )


def mutator_line(mutator):
    library = one_library()
    return 'thread %d "%s": %s, poll %s, %s' % (
        int(mutator["id"]),
        text_of(mutator["name"]),
        states(library).get(int(mutator["state"]), "?"),
        poll_text(library, int(mutator["local"]["pub"]["tarn_poll"])),
        count_text(int(mutator["local"]["pub"]["tarn_holds"]), "hold"),
    )


class MutatorPrinter(Printer):
    def line(self, value):
        return mutator_line(value)


class ThreadPrinter(Printer):
    def line(self, value):
        """A tarn_thread is the first part of the library's own structure."""
        if value.address is None:
            return "<a tarn_thread that is nowhere>"
        pointer = one_library().mutator.kind.pointer()
        return mutator_line(value.address.cast(pointer).dereference())


class HeapPrinter(Printer):
    def line(self, value):
        return "heap %d of world %d: %s" % (
            int(value["index"]),
            int(value["store"]["id"]),
            {0: "atomic", 1: "container"}.get(int(value["kind"]), "?"),
        )


class TypePrinter(Printer):
    def line(self, value):
        library = one_library()
        if (
            value.address is not None
            and int(value["check"]) != address_of(value) ^ library.type_check
        ):
            return "<no tarn_type>"
        text = 'type "%s": %s' % (
            read_text(int(value["name"])) or "anonymous",
            bytes_text(int(value["size"])),
        )
        if value["is_array"]:
            text += " and elements of %s" % bytes_text(int(value["element_size"]))
        if int(value["data_size"]):
            text += " and a data block of %s" % bytes_text(int(value["data_size"]))
        flavour = library.flavours.get(int(value["flavour"]), "?")
        return text + ", %s, scanned as %s" % (flavour, library.scans.get(int(value["scan"]), "?"))


class PoolPrinter(Printer):
    def line(self, value):
        library = one_library()
        capacity = int(value["capacity"])
        if not capacity:
            return "no pool"
        text = "pool of %d blocks of class %d: %s, list %s" % (
            capacity,
            int(value["size_class"]),
            library.flavours.get(int(value["flavour"]), "?"),
            library.lists.get(int(value["list"]), "?"),
        )
        return text + (", has a bin" if int(value["bin"]) else "")


class StatusPrinter(Printer):
    def line(self, value):
        names = {field.enumval: field.name for field in plain(value.type).fields()}
        number = int(value)
        return (
            "%s (%d)" % (names[number], number)
            if number in names
            else "no tarn_status (%d)" % number
        )


def printers():
    collection = gdb.printing.RegexpCollectionPrettyPrinter("tarn")
    for name, printer in (
        ("tarn_world", WorldPrinter),
        ("tarn_mutator", MutatorPrinter),
        ("tarn_thread", ThreadPrinter),
        ("tarn_heap", HeapPrinter),
        ("tarn_type", TypePrinter),
        ("tarn_pool", PoolPrinter),
        ("tarn_status", StatusPrinter),
    ):
        collection.add_printer(name, "^%s$" % name, printer)
    return collection


def register():
    TarnPrefix()
    for name, function, doc in (
        ("heap", heap_command, "tarn heap [WORLD]: worlds, heaps, pools and large objects."),
        ("object", object_command, "tarn object ADDRESS: the block at an address."),
        ("find", find_command, "tarn find [TYPE [LIMIT]]: objects of a type, or counts by type."),
        (
            "retainers",
            retainers_command,
            "tarn retainers ADDRESS [DEPTH]: who refers to an object.",
        ),
        ("threads", threads_command, "tarn threads: the attached threads."),
        ("roots", roots_command, "tarn roots: where collections start."),
        ("help", help_command, "tarn help: the commands."),
    ):
        TarnCommand(name, function, doc)
    # For all of the process: a type that the program sees as opaque is shown by its definition.
    gdb.printing.register_pretty_printer(None, printers(), replace=True)


if __name__ == "__main__":
    # gdb runs all scripts in one namespace, where the next one may have a `read` of its own: what
    # is registered comes from another.
    # (`__file__` is that of the script that makes gdb load this one, if there is one.)
    own = types.ModuleType("tarn_gdb")
    with open(register.__code__.co_filename, encoding="utf-8") as file:
        exec(compile(file.read(), file.name, "exec"), own.__dict__)
else:
    register()
