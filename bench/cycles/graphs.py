# SPDX-License-Identifier: MIT
"""The graphs of graphs.c, built of Python's own objects and collected by its collector.

    python3 -I graphs.py MODE SHAPE COUNT TIMES [slots]

A node is a list of its atom and its references; with `slots`, an object of a class with
__slots__, which is smaller, and whose type is visited as well.  Atoms are the small integers that
the interpreter shares.  See graphs.c for modes and shapes; the random numbers are the same.
"""
import gc
import os
import sys
import threading
import time

MASK = (1 << 64) - 1
FRESH = 700
RING = 10
WALK = 1000


class Slots:
    __slots__ = ("atom", "left", "right")


def new_list(atom):
    return [atom]


def new_slots(atom):
    node = Slots()
    node.atom = atom
    return node


def left_slots(node, other):
    node.left = other


def right_slots(node, other):
    node.right = other


def steps_slots(node):
    return node.atom, getattr(node, "left", None), getattr(node, "right", None)


def steps_list(node):
    return node[0], node[1] if len(node) > 1 else None, node[2] if len(node) > 2 else None


class Kind:
    """How a node is made; lists get their references in order, left first."""

    def __init__(self, slots):
        self.new = new_slots if slots else new_list
        self.left = left_slots if slots else list.append
        self.right = right_slots if slots else list.append
        self.steps = steps_slots if slots else steps_list


def random_from(state):
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield state >> 32


def make_random(kind, count):
    """One reference along a circle through all in random order, the other to any."""
    new, left, right = kind.new, kind.left, kind.right
    nodes = [new(i & 255) for i in range(count)]
    numbers = random_from(1).__next__
    for i in range(count - 1, 0, -1):
        other = numbers() * (i + 1) >> 32
        nodes[i], nodes[other] = nodes[other], nodes[i]
    numbers = random_from(2).__next__
    for i in range(count):
        node = nodes[i]
        left(node, nodes[i + 1 if i + 1 < count else 0])
        right(node, nodes[numbers() * count >> 32])
    return nodes[0]


def make_lists(kind, count):
    new = kind.new
    return [new(i & 255) for i in range(count)]


def make_chain(kind, count):
    new, left = kind.new, kind.left
    first = last = new(0)
    for i in range(1, count):
        node = new(i & 255)
        left(last, node)
        last = node
    return first


def make_tree(kind, count, number=0):
    """A node, its left side, its right side; `number` counts nodes in that order."""
    node = kind.new(number & 255)
    half = count // 2
    if half:
        kind.left(node, make_tree(kind, half, number + 1))
    if count - 1 - half:
        kind.right(node, make_tree(kind, count - 1 - half, number + 1 + half))
    return node


def make_rings(kind, count):
    new, left = kind.new, kind.left
    for start in range(0, count, RING):
        first = last = new(start & 255)
        for i in range(start + 1, start + RING):
            node = new(i & 255)
            left(last, node)
            last = node
        left(last, first)


SHAPES = {
    "random": make_random,
    "lists": make_lists,
    "chain": make_chain,
    "tree": make_tree,
    "rings": make_rings,
}


def walk(kind, root):
    """The sum of atoms along one path."""
    if isinstance(root, list) and root and not isinstance(root[0], int):
        return sum(kind.steps(node)[0] for node in root[:WALK])
    total = 0
    state = 3
    for _ in range(WALK):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        atom, left, right = kind.steps(root)
        total += atom
        root = right if state >> 63 and right is not None else left
        if root is None:
            break
    return total


def figure(key, value):
    print(key, value)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


cpus = []  # processor time of each collection


def collect(generation=2):
    cpu = time.process_time_ns()
    begin = time.perf_counter_ns()
    found = gc.collect(generation)
    wall = time.perf_counter_ns() - begin
    cpus.append(time.process_time_ns() - cpu)
    return wall, found


def median(values):
    values = sorted(values)
    return values[(len(values) - 1) // 2]


def print_costs(costs, count):
    """Of the first collection, and the median of the later ones."""
    figure("first_collect_ns", costs[0] / count)
    figure("collect_ns", median(costs[1:]) / count)
    figure("collect_cpu_ns", median(cpus[-len(costs) + 1 :]) / count)


def run_live(kind, shape, count, times):
    root = SHAPES[shape](kind, count)
    print_costs([collect()[0] for _ in range(times + 1)], count)
    figure("check", walk(kind, root))


def run_garbage(kind, shape, count, times):
    costs = []
    for _ in range(times + 1):
        SHAPES[shape](kind, count)
        cost, found = collect()
        if found < count:
            sys.exit("not all garbage was found")
        costs.append(cost)
    print_costs(costs, count)
    figure("check", count)


def run_young(kind, shape, count, times):
    root = SHAPES[shape](kind, count)
    collect()
    collect()
    costs = []
    for _ in range(times):
        fresh = make_chain(kind, FRESH)
        costs.append(collect(0)[0])
        del fresh
    figure("young_ns", median(costs))
    figure("check", walk(kind, root))


gap = 0
done = False


def watch(begun):
    global gap
    last = time.perf_counter_ns()
    begun.set()
    while not done:
        now = time.perf_counter_ns()
        if now - last > gap:
            gap = now - last
        last = now


def run_gap(kind, shape, count, times):
    global gap, done
    root = SHAPES[shape](kind, count)
    begun = threading.Event()
    thread = threading.Thread(target=watch, args=(begun,))
    thread.start()
    begun.wait()
    gap = 0
    costs = [collect()[0] for _ in range(times + 1)]
    done = True
    thread.join()
    figure("gap_ns", gap)
    figure("first_collect_ns", costs[0] / count)
    figure("collect_ns", median(costs[1:]) / count)
    figure("check", walk(kind, root))


def run_memory(kind, shape, count, times):
    before = resident()
    root = SHAPES[shape](kind, count)
    figure("bytes_per_object", (resident() - before) / count)
    figure("check", walk(kind, root))


def run_after(kind, shape, count, times):
    SHAPES[shape](kind, 1000)
    collect()
    start = resident()
    SHAPES[shape](kind, count)
    collect()
    figure("start_bytes", start)
    figure("resident_bytes", resident())
    figure("resident_ratio", resident() / start)
    figure("empty_ns", median([collect()[0] for _ in range(times)]))
    figure("later_bytes", resident())
    figure("later_ratio", resident() / start)
    figure("check", count)


MODES = {
    "live": run_live,
    "garbage": run_garbage,
    "young": run_young,
    "gap": run_gap,
    "memory": run_memory,
    "after": run_after,
}


def main():
    mode, shape, count, times = sys.argv[1:5]
    gc.disable()
    gc.collect()
    MODES[mode](Kind(sys.argv[5:] == ["slots"]), shape, int(count), int(times))
    sys.stdout.flush()
    os._exit(0)  # taking millions of objects apart is no part of it


main()
