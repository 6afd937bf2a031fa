"""What the second implementation says of a join beyond its expected records, as one JSON object.

truth.py ORACLE_DIR CASE_DIR
"""
import collections
import json
import os
import sys

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import oracle

case_dir = sys.argv[2]
case = json.load(open(os.path.join(case_dir, "case.json"), encoding="utf-8"))
config = case["config"]
records = oracle.load_records(os.path.join(case_dir, "input.jsonl"))
side = lambda name: [r for r in records if r["topic"] == config[name]["topic"]]
solved = oracle.stream_join(side("left"), side("right"), config)
lefts, rights = (oracle.join_side(side(name), name, config, []) for name in ("left", "right"))
late = sum(e[4] for sides in (lefts, rights) for events in sides.values() for e in events)
candidates = {}
for partition, events in lefts.items():
    for t, key, fields, r, is_late in events:
        near = [
            [p[0], p[2].get("email")]
            for p in rights.get(partition, [])
            if key is not None and p[1] == key and not p[4] and not is_late
            and t - config["before_ms"] <= p[0] <= t + config["after_ms"]
        ]
        candidates[json.loads(fields["event_id"])] = near
outcomes = collections.Counter(solved["unmatched"])
outcomes["matched"] = sum(1 for near in candidates.values() if near)
json.dump({
    "outcomes": outcomes,
    "late_records": late,
    "tombstones": sum(1 for r in side("right") if r["value"] is None),
    "candidates": candidates,
}, sys.stdout)
