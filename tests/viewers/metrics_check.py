#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: metrics_check.py METRICS_PROGRAM

The metrics of a program as a strict parser of OpenMetrics and the older one of Prometheus read them,
and the same figures as JSON.  Exits with 77 where python3-prometheus-client is missing.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    from prometheus_client import parser as older
    from prometheus_client.openmetrics import parser as strict
except ImportError:
    print("skipped: there is no python3-prometheus-client; ./run viewers --install has it installed")
    sys.exit(1 if os.environ.get("VIEWERS_MUST") else 77)


def check(condition, what):
    if not condition:
        sys.exit("not so: " + what)


def values(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


with tempfile.TemporaryDirectory() as directory:
    text_file, json_file = (os.path.join(directory, name) for name in ("m.prom", "m.json"))
    subprocess.run([sys.argv[1], text_file, json_file], check=True, timeout=60)
    with open(text_file, encoding="utf-8", newline="") as file:
        text = file.read()
    with open(json_file, encoding="utf-8") as file:
        data = json.load(file)

families = list(strict.text_string_to_metric_families(text))
check(len(families) > 45, "there are more than 45 families")
for family in families:
    check(family.name.startswith("tarn_"), family.name)
    check(family.documentation.endswith("."), family.name + " has a text")
    check(family.samples, family.name + " has samples")
    check(all(s.labels["world"] == "1" for s in family.samples), family.name + " names its world")
    for unit in ("bytes", "seconds"):
        check((family.unit == unit) == family.name.endswith("_" + unit), family.name + " says its unit")

found = values(families)
check(values(older.text_string_to_metric_families(text)) == found, "both parsers read the same")

stats = data["stats"]
check(data["format"] == "tarn-metrics" and data["version"] == 1, "the format of JSON")
world = ("world", "1")
check(found["tarn_collections_total", (world,)] == stats["collections"] >= 5, "five collections")
check(found["tarn_allocated_bytes_total", (world,)] == stats["allocated_bytes"] > 10**7, "bytes")
check(found["tarn_generation_collections_total", (("generation", "2"), world)]
      == stats["collections_of"][2] == stats["collections"], "full collections")
check(found["tarn_pause_max_seconds", (world,)] == stats["pause_max_ns"] / 1e9, "the longest pause")
pauses = data["histograms"]["pauses_ns"]
check(pauses["count"] == stats["collections"] and pauses["sum"] == stats["pause_total_ns"], "pauses in JSON")
check(found["tarn_pause_seconds_count", (world,)] == stats["collections"], "pauses")
check(found["tarn_pause_seconds_sum", (world,)] == pauses["sum"] / 1e9, "their sum")
total = 0
for bound, count in zip(pauses["bounds"] + [None], pauses["counts"]):
    total += count
    le = "+Inf" if bound is None else next(
        dict(k[1])["le"] for k in found if k[0] == "tarn_pause_seconds_bucket"
        and dict(k[1])["le"] != "+Inf" and round(float(dict(k[1])["le"]) * 1e9) == bound)
    check(found["tarn_pause_seconds_bucket", (("le", le), world)] == total, "bucket " + le)
check(total == stats["collections"], "all pauses are in buckets")
thread = ("thread", 'a "name" \\ of?lines \u00e9 ' + stats["stop_last_thread"][-1:])
check(found["tarn_stop_last_thread", (thread, world)] == 1, "the last thread")

# A parser that takes everything would have passed, too.
for broken in (text.replace("# EOF\n", ""), text.replace("_bucket{", "_buckte{", 1)):
    try:
        list(strict.text_string_to_metric_families(broken))
    except ValueError:
        continue
    sys.exit("the parser takes what is wrong")
print(len(families), "families,", len(found), "samples")
