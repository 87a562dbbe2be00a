#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_trace.py FILE COLLECTIONS: a trace whose figures are easy to work out.

Collection i (from 0) begins at i * 10 ms.  Its pause is i + 1 us, but that of the last one is 5 ms.
Every tenth is a full one, the others are of generation 0; a fifth of a pause is the time to
safepoint, the rest marking.  Each has a stop that is just as long.  The trace ends at
COLLECTIONS * 10 ms."""
import json
import sys


def main(path, count):
    events = [{"ph": "M", "pid": 1, "tid": 7, "name": "thread_name", "args": {"name": "collector"}}]
    for i in range(count):
        at = i * 10000 + 0.0
        pause = 5000.0 if i == count - 1 else i + 1.0
        events.append({"ph": "X", "pid": 1, "tid": 7, "name": "gc", "ts": at, "dur": pause, "args": {
            "number": i + 1, "cause": "asked" if i == count - 1 else "allocation",
            "generation": 2 if i % 10 == 9 else 0, "heap_before": (i + 2) * 1048576,
            "heap_after": (i + 1) * 1048576, "live_bytes": 1, "last_thread": "worker %d" % (i % 3)}})
        events.append({"ph": "X", "pid": 1, "tid": 7, "name": "stop", "ts": at, "dur": pause / 5})
        events.append({"ph": "X", "pid": 1, "tid": 7, "name": "mark", "ts": at + pause / 5,
                       "dur": pause * 4 / 5})
        events.append({"ph": "X", "pid": 1, "tid": 8, "name": "stop", "ts": at, "dur": pause,
                       "args": {"number": i + 1, "last_thread": ""}})
    events.append({"ph": "X", "pid": 1, "tid": 3, "name": "attached", "ts": 0, "dur": count * 10000})
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n")


main(sys.argv[1], int(sys.argv[2]))
