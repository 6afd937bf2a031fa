#!/usr/bin/env python3
"""Second implementation of rules and duplicates (contract: Bronze, silver, gold; 2, 3, 7).

A pipeline is a dict as the configuration has it: "rule", a list of rules, and "dedup". outcomes(pipeline, records) says
of each record, in the order of offsets, what becomes of it. Standard library only; written to be read, not to be fast.

rules.py cases FILE         the cases of a file, {"rule", "record"}, each with whether the record passes
rules.py random SEED N M    N pipelines, each with M records and what becomes of them
"""
import datetime
import ipaddress
import json
import random
import re
import sys
import uuid
from decimal import Decimal

from transforms import MISSING, NUMBER, Number, field, load

UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#]+([/?#]\S*)?", re.I)


class Unreadable(Exception):
    """The field cannot be compared so: the check fails, also under `not`."""


# ---------------------------------------------------------------- values

def number(value):
    """A number, or a text that is one."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return Decimal(value)
    raise Unreadable


def instant(value):
    """Milliseconds of an RFC 3339 text, or of a whole number of milliseconds."""
    if isinstance(value, Number) and re.fullmatch(r"-?\d{1,18}", value):
        return Decimal(value)
    if not isinstance(value, str) or isinstance(value, Number):
        raise Unreadable
    match = RFC3339.fullmatch(value)
    if not match:
        raise Unreadable
    day, clock, fraction, zone = match.groups()
    at = datetime.datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone}")
    return Decimal(int(at.timestamp())) * 1000 + Decimal("0" + (fraction or "")) * 1000


def bound_instant(bound, now_ms):
    """The instant that a text of a rule means; None: it is no time."""
    if not isinstance(bound, str):
        return None
    match = re.fullmatch(r"now(?:([+-])(\d+)([smhd]))?", bound)
    if match:
        sign, amount, unit = match.groups()
        away = int(amount or 0) * UNITS[unit or "s"]
        return Decimal(now_ms - away if sign == "-" else now_ms + away)
    return instant(bound) if RFC3339.fullmatch(bound) else None


def pair(value, bound, now_ms):
    """Both as what is compared."""
    if isinstance(bound, bool) or isinstance(value, bool):
        if isinstance(bound, bool) and isinstance(value, bool):
            return value, bound
        raise Unreadable
    if isinstance(bound, (int, float)):
        return number(value), Decimal(str(bound))
    at = bound_instant(bound, now_ms)
    if at is not None:
        return instant(value), at
    if isinstance(value, Number):
        return number(value), number(bound)
    return text(value).encode(), bound.encode()


def same(value, bound, now_ms):
    """Whether they are equal. What is no number is not compared with one; an object or array is compared with nothing."""
    if isinstance(value, (dict, list)):
        raise Unreadable
    if isinstance(bound, bool):
        return text(value) == text(bound)
    if isinstance(bound, str) and bound_instant(bound, now_ms) is None and not (isinstance(value, Number) and NUMBER.fullmatch(bound)):
        return text(value) == bound
    a, b = pair(value, bound, now_ms)
    return a == b


def text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    raise Unreadable


def kind(value):
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, Number):
        return {"number"} | ({"integer"} if number(value) % 1 == 0 else set())
    return {str: {"string"}, dict: {"object"}, list: {"array"}}[type(value)]


def is_form(test, value):
    value = text(value)
    if test == "is_uuid":
        try:
            return bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value)) and bool(uuid.UUID(value))
        except ValueError:
            return False
    if test == "is_ip":
        try:
            return bool(ipaddress.ip_address(value))
        except ValueError:
            return False
    return bool((EMAIL if test == "is_email" else URL).fullmatch(value))


# ---------------------------------------------------------------- conditions

def one(test, want, value, condition, record, now_ms):
    if test in ("eq", "ne"):
        return same(value, want, now_ms) == (test == "eq")
    if test in ("gt", "gte", "lt", "lte"):
        a, b = pair(value, want, now_ms)
        return {"gt": a > b, "gte": a >= b, "lt": a < b, "lte": a <= b}[test]
    if test == "between":
        low, high = pair(value, want[0], now_ms), pair(value, want[1], now_ms)
        return low[0] >= low[1] and high[0] <= high[1]
    if test in ("in", "not_in"):
        return any(same(value, bound, now_ms) for bound in want) == (test == "in")
    if test == "matches":
        return re.search(want, text(value)) is not None
    if test == "starts_with":
        return text(value).startswith(want)
    if test == "ends_with":
        return text(value).endswith(want)
    if test == "length_min":
        return len(text(value)) >= want
    if test == "length_max":
        return len(text(value)) <= want
    if test == "type":
        return want in kind(value)
    if test.startswith("is_"):
        return is_form(test, value)
    others = [field(path, record) for path in ([want] if test == "equals_field" else want)]
    if MISSING in others:
        raise Unreadable
    if test == "equals_field" and not isinstance(value, Number) and not isinstance(others[0], Number) and "tolerance" not in condition:
        return text(value) == text(others[0])
    if test == "equals_field" and "tolerance" not in condition and isinstance(value, Number) != isinstance(others[0], Number):
        try:
            return number(value) == number(others[0])
        except Unreadable:
            if isinstance(value, (dict, list)) or isinstance(others[0], (dict, list)):
                raise
            return False
    numbers = [number(other) for other in others]
    whole = sum(numbers) if test != "equals_product" else None
    if whole is None:
        whole = Decimal(1)
        for factor in numbers:
            whole *= factor
    return abs(number(value) - whole) <= Decimal(str(condition.get("tolerance", 0)))


def holds(condition, record, now_ms):
    """Whether it holds; Unreadable where that cannot be told."""
    if "all" in condition:
        return all_of([passes_or_none(c, record, now_ms) for c in condition["all"]])
    if "any" in condition:
        found = [passes_or_none(c, record, now_ms) for c in condition["any"]]
        if True in found:
            return True
        if None in found:
            raise Unreadable
        return False
    if "not" in condition:
        return not holds(condition["not"], record, now_ms)
    value = field(condition["field"], record)
    tests = {t: w for t, w in condition.items() if t not in ("field", "tolerance")}
    if "absent" in tests:
        return value is MISSING
    if value is MISSING:
        raise Unreadable
    if "present" in tests:
        tests.pop("present")
    return all_of([tested(t, w, value, condition, record, now_ms) for t, w in tests.items()])


def tested(*arguments):
    try:
        return one(*arguments)
    except Unreadable:
        return None


def passes_or_none(condition, record, now_ms):
    try:
        return holds(condition, record, now_ms)
    except Unreadable:
        return None


def all_of(found):
    if False in found:
        return False
    if None in found:
        raise Unreadable
    return True


def passes(condition, record, now_ms):
    return passes_or_none(condition, record, now_ms) is True


# ---------------------------------------------------------------- what becomes of records

def ms(span):
    return int(span[:-1]) * UNITS[span[-1]]


def outcomes(pipeline, records):
    """Records of one partition: each with "record", its text, and "timestamp". An outcome is "dropped: REASON", "refused:
    REASON", or a row: the names of the rules that failed, and whether it is a duplicate."""
    dedup = pipeline.get("dedup")
    seen, largest, found = [], None, []
    for given in records:
        record = load(given["record"])
        failed, fates = [], set()
        for rule in pipeline["rule"]:
            if "when" in rule and not passes(rule["when"], record, given["timestamp"]):
                continue
            if not passes(rule["check"], record, given["timestamp"]):
                failed.append(rule["name"])
                if rule.get("severity", "error") == "error":
                    fates.add(rule.get("on_fail", "flag"))
        if "dead_letter" in fates or "drop" in fates:
            found.append("refused: rule_failed" if "dead_letter" in fates else "dropped: rule_failed")
            continue
        again = False
        at = int(record["ts"])
        if dedup:
            within, delay = ms(dedup["within"]), ms(pipeline["watermark_delay"])
            parts = [field(path, record) for path in dedup["key"]]
            key = None if MISSING in parts else tuple((type(part).__name__, json.dumps(part)) for part in parts)
            if key is not None:
                known = [t for k, t in seen if k == key and (largest is None or t > largest - within - delay)]
                again = any(abs(t - at) < within for t in known)
                seen.append((key, at))
            largest = at if largest is None else max(largest, at)
        action = (dedup or {}).get("on_duplicate", "drop")
        if again and action == "drop":
            found.append("dropped: duplicate")
        elif again and action == "dead_letter":
            found.append("refused: duplicate")
        else:
            found.append({"failed": failed, "again": again})
    return found


# ---------------------------------------------------------------- cases

BOUNDS = ["0", "1", "7", "-3", "2.5", "10"]
TEXTS = ["", "a", "abc", "Zebra", "grüße", "user@example.com", "no@dots", "10.0.0.1", "::1", "10.0.0.256", "http://a.b/c",
         "a.b/c", "ftp://x", "6f9619ff-8b86-d011-b42d-00c04fc964ff", "6f9619ff8b86d011b42d00c04fc964ff", "true"]
TIMES = ["2025-11-21T10:00:00Z", "2025-11-21T11:00:00+01:00", "2025-11-14T10:00:00.001Z", "2025-11-13 00:00:00Z"]
NOW = 1_763_719_200_000


def random_value(rng):
    return rng.choice([
        lambda: rng.choice(BOUNDS + ["1.0", "1e1", "0.1", "123456789012345678901234567890"]),
        lambda: json.dumps(rng.choice(TEXTS), ensure_ascii=rng.random() < 0.5),
        lambda: json.dumps(rng.choice(TIMES)),
        lambda: rng.choice(["true", "false", "null", "[]", "[1]", "{}", "\"5\"", "\"-0.5\""]),
    ])()


def random_test(rng):
    bound = json.loads(rng.choice(BOUNDS))
    numbers = sorted([json.loads(rng.choice(BOUNDS)), json.loads(rng.choice(BOUNDS))])
    return rng.choice([
        lambda: {rng.choice(["eq", "ne", "gt", "gte", "lt", "lte"]): bound},
        lambda: {rng.choice(["gt", "gte", "lt", "lte"]): rng.choice(["now", "now-7d", "now-1h", TIMES[0]])},
        lambda: {rng.choice(["eq", "ne"]): rng.choice(["abc", "Zebra", "grüße"])},
        lambda: {rng.choice(["eq", "ne"]): rng.choice([True, False])},
        lambda: {"between": numbers},
        lambda: {rng.choice(["in", "not_in"]): rng.choice([[1, 7, 10], ["abc", "a"], ["Zebra"]])},
        lambda: {rng.choice(["length_min", "length_max"]): rng.randrange(0, 6)},
        lambda: {"type": rng.choice(["string", "number", "integer", "boolean", "object", "array"])},
        lambda: {rng.choice(["starts_with", "ends_with"]): rng.choice(["a", "z", "c", "1"])},
        lambda: {"matches": rng.choice(["^[a-z]+$", "b", "[0-9]", "ü"])},
        lambda: {rng.choice(["is_uuid", "is_email", "is_ip", "is_url"]): True},
        lambda: {rng.choice(["present", "absent"]): True},
        lambda: {rng.choice(["equals_product", "equals_sum"]): ["$.b", "$.c"], "tolerance": rng.choice(["0", "0.5", "2"])},
        lambda: {"equals_field": "$.b"},
    ])()


def random_condition(rng, depth=2):
    if depth and rng.random() < 0.3:
        several = [random_condition(rng, depth - 1) for _ in range(rng.randrange(1, 4))]
        return rng.choice([{"all": several}, {"any": several}, {"not": several[0]}])
    return {"field": rng.choice(["$.a", "$.b", "$.c", "$.d.e"]), **random_test(rng)}


def random_rule(rng, number):
    rule = {"name": f"r{number}", "check": random_condition(rng), "on_fail": rng.choice(["flag", "flag", "flag", "drop", "dead_letter"])}
    if rng.random() < 0.3:
        rule["when"] = random_condition(rng)
    if rng.random() < 0.3:
        rule["severity"] = "warning"
    return rule


def random_pipeline(rng, count):
    pipeline = {"rule": [random_rule(rng, number) for number in range(rng.randrange(1, 5))], "watermark_delay": "2s"}
    # A rule that refuses nearly everything leaves nothing to be a duplicate.
    if rng.random() < 0.7:
        for rule in pipeline["rule"]:
            rule["on_fail"] = "flag" if rng.random() < 0.8 else rule["on_fail"]
    keys = rng.choice([["$.id"], ["$.id", "$.b"]])
    pipeline["dedup"] = {"key": keys, "within": rng.choice(["1s", "5s", "20s"]), "on_duplicate": rng.choice(["drop", "dead_letter", "flag"])}
    records, at = [], NOW
    for _ in range(count):
        at += rng.choice([0, 1, 300, 999, 1000, 1001, 4000])
        members = [f'"{name}":{random_value(rng)}' for name in "abc" if rng.random() < 0.8]
        members.append(f'"d":{{"e":{random_value(rng)}}}')
        # No later than what is forgotten.
        members.append(f'"ts":{at - rng.choice([0, 0, 0, 500, 1900])}')
        key = rng.choice(['1', '"1"', '1', '"x"', '"x"', '"y"', "null", "true", '"\\u0078"'])
        members.append(f'"id":{key}')
        rng.shuffle(members)
        records.append({"record": "{" + ",".join(members) + "}", "timestamp": NOW})
    return {"pipeline": pipeline, "records": records, "outcomes": outcomes(pipeline, records)}


def main():
    if sys.argv[1] == "cases":
        for line in open(sys.argv[2], encoding="utf-8"):
            case = json.loads(line)
            case["passes"] = passes(case["check"], load(case["record"]), case.get("timestamp", NOW))
            print(json.dumps(case, ensure_ascii=False))
        return
    rng = random.Random(int(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        print(json.dumps(random_pipeline(rng, int(sys.argv[4])), ensure_ascii=False))


if __name__ == "__main__":
    main()
