#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: trace_json.sh TRACE_PROGRAM
# A strict reader takes a trace, and what a killed process left; and the events are what the format
# says.
set -eu
program=$1
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || skip python3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" "$work/whole"
"$program" "$work/killed" kill 2>/dev/null && { echo "it was not killed"; exit 1; }
python3 - "$work/whole" "$work/killed" <<'PYTHON'
import collections, json, sys

def refuse(word):
    raise ValueError(word + " is no JSON")

def twice(pairs):
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a name twice in " + str(names))
    return dict(pairs)

def number(event, name):
    value = event[name]
    assert isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0, event
    return value

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        events = json.load(file, parse_constant=refuse, object_pairs_hook=twice)
    kinds = collections.Counter(event["ph"] for event in events)
    assert set(kinds) == {"X", "C", "M"}, kinds
    names = set()
    for event in events:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int), event
        if event["ph"] != "M":
            number(event, "ts")
        if event["ph"] == "X":
            number(event, "dur")
        if event["ph"] == "C":
            assert all(isinstance(v, int) and v >= 0 for v in event["args"].values()), event
        if event["name"] == "thread_name":
            names.add(event["args"]["name"])
    assert {"collector", "stops", 'worker "a"', 'worker "b"', 'worker "c"'} <= names, names
    pauses = [event for event in events if event["name"] == "gc"]
    assert len(pauses) >= 3, len(pauses)
    numbers = sorted(pause["args"]["number"] for pause in pauses)
    assert numbers == list(range(1, len(pauses) + 1)), numbers
    for pause in pauses:
        inside = [event for event in events
                  if event["ph"] == "X" and event["tid"] == pause["tid"] and event is not pause
                  and event["ts"] >= pause["ts"]
                  and event["ts"] + event["dur"] <= pause["ts"] + pause["dur"]]
        total = sum(event["dur"] for event in inside)
        # Parts end early, by more the longer the machine is up.
        early = 9 * (0.002 + pause["ts"] / 2**51)
        assert pause["dur"] - early < total <= pause["dur"], (pause, total)
    print(f"{len(events)} events, {len(pauses)} pauses: {dict(kinds)}")
PYTHON
