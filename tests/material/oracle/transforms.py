#!/usr/bin/env python3
"""Second implementation of column steps, computed columns and masks (contract: Bronze, silver, gold; 4, 5, 7).

A column is a dict as the configuration has it: {"path": "$.a", "apply": ["trim", {"round": 2}], "default": ...}.
value(column, record) is the text of the column, None where its default takes its place; Refused where the record
is a dead letter. Standard library only; written to be read, not to be fast.

transforms.py cases FILE        the cases of a file, {"column", "record"}, each with what it gives
transforms.py random SEED N M   M records, each with N columns and what they give: a value or "refused"
"""
import datetime
import decimal
import hashlib
import hmac
import json
import random
import re
import sys
import unicodedata
import zoneinfo
from decimal import Decimal

decimal.getcontext().prec = 400
MISSING = object()
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
KEY = b"0123456789abcdef0123456789abcdef"


class Refused(Exception):
    """The step that could not be applied."""


class Number(str):
    """A JSON number as it was written."""


def load(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


# ---------------------------------------------------------------- fields

def field(path, record):
    value = record
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path[1:]):
        if name:
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else MISSING
    return MISSING if value is None else value


def plain(d):
    """Digits without exponent and without zeros that say nothing."""
    text = format(d, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def moment_text(t):
    if t.utcoffset().total_seconds() % 60:
        t = t.astimezone(UTC)  # RFC 3339 has no seconds of an offset
    text = t.strftime("%Y-%m-%dT%H:%M:%S")
    if t.microsecond:
        text += ".%03d" % (t.microsecond // 1000) if t.microsecond % 1000 == 0 else ".%06d" % t.microsecond
    offset = t.utcoffset()
    if not offset:
        return text + "Z"
    minutes = int(abs(offset).total_seconds()) // 60
    return text + ("-" if offset.days < 0 else "+") + "%02d:%02d" % divmod(minutes, 60)


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.datetime):
        return moment_text(value)
    raise Refused("no text")


def limited(d):
    """At most 76 digits from the first to the last that matters, at most 76 behind the point."""
    digits = plain(abs(d))
    if len(digits.replace(".", "").lstrip("0")) > 76 or len(digits.partition(".")[2]) > 76:
        raise Refused("too many digits")
    return d


def number_of(value):
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return limited(Decimal(value))
    raise Refused("not a number")


def time_of(value, unit):
    """unit: s, ms, us, ns, or None for milliseconds that do not look like seconds."""
    t = any_time(value, unit)
    if not 1900 <= t.year <= 2299:
        raise Refused("outside of every column")
    return t


def any_time(value, unit):
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool):
        text = text_of(value)
        if NUMBER.fullmatch(text):
            number = Decimal(text)
            if unit is None:
                if number != int(number) or 10**9 <= number <= 9999999999 or re.search("[.eE]", text):
                    raise Refused("implausible")
                unit = "ms"
            micros = number * {"s": 10**6, "ms": 1000, "us": 1, "ns": Decimal("0.001")}[unit]
            try:
                return EPOCH + datetime.timedelta(microseconds=int(micros.to_integral_value(decimal.ROUND_FLOOR)))
            except OverflowError:
                raise Refused("outside of every calendar")
        if re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", text):
            try:
                t = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
            except ValueError:
                raise Refused("no such time")
            return (t if t.tzinfo else t.replace(tzinfo=UTC)).astimezone(UTC)
    raise Refused("not a time")


# ---------------------------------------------------------------- steps

def title(text):
    out, within = "", False
    for c in text:
        out += c.lower() if within else c.title()
        within = c.isalnum()
    return out


def mapped(table, step, value):
    text = text_of(value)
    return table.get(text, step.get("default", text))


def bucket(bounds, number):
    names = [str(b) for b in bounds]
    if number < Decimal(names[0]):
        return "<" + names[0]
    for low, high in zip(names, names[1:]):
        if Decimal(low) <= number < Decimal(high):
            return "%s-%s" % (low, high)
    return ">=" + names[-1]


def part(step, t):
    local = t.astimezone(zoneinfo.ZoneInfo(step.get("zone", "UTC")))
    weekday = local.isoweekday()
    first, before = step.get("hours", [9, 17])
    return {"hour": local.hour, "day_of_week": weekday, "day_of_month": local.day, "month": local.month,
            "quarter": (local.month - 1) // 3 + 1, "is_weekend": weekday >= 6,
            "is_business_hours": weekday <= 5 and first <= local.hour < before}[step["part"]]


def truncated(span, zone, t):
    zone = zoneinfo.ZoneInfo(zone)
    local = t.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    days = {"1d": 1, "7d": 7, "1w": 7, "3d": 3}.get(span)
    if days:
        since = (local.date() - datetime.date(1970, 1, 5 if days == 7 else 1)).days
        begin = (midnight - datetime.timedelta(days=since % days)).replace(fold=0)
        # Where clocks leave midnight out, the day begins when they go on.
        return begin.astimezone(UTC).astimezone(zone)
    seconds = int(span[:-1]) * {"s": 1, "m": 60, "h": 3600}[span[-1]]
    of_day = local.hour * 3600 + local.minute * 60 + local.second
    begin = (t - datetime.timedelta(seconds=of_day % seconds)).replace(microsecond=0).astimezone(zone)
    if begin.utcoffset() == local.utcoffset():
        return begin
    return (local.replace(microsecond=0, tzinfo=None) - datetime.timedelta(seconds=of_day % seconds)).replace(tzinfo=zone)


def apply(step, value):
    if value is MISSING:
        return MISSING
    if isinstance(step, str):
        step = {step: None}
    names = ("trim", "lower", "upper", "title", "normalize_space", "unicode_nfc", "abs", "replace", "extract", "map",
             "split", "round", "scale", "unit", "part", "truncate_time", "bucket")
    name = next(n for n in names if n in step)
    argument = step[name]
    try:
        if name == "abs":
            return abs(number_of(value))
        if name == "round":
            return number_of(value).quantize(Decimal(1).scaleb(-argument), decimal.ROUND_HALF_EVEN)
        if name == "scale":
            return limited(number_of(value) * Decimal(argument))
        if name == "bucket":
            return bucket(argument, number_of(value))
        if name == "unit":
            return time_of(value, argument)
        if name == "part":
            return part(step, time_of(value, None))
        if name == "truncate_time":
            return truncated(argument, step.get("zone", "UTC"), time_of(value, None))
        text = text_of(value)
    except Refused as why:
        raise Refused(name) from why
    if name == "trim":
        return text.strip(WHITE)
    if name == "normalize_space":
        return " ".join(word for word in re.split("[%s]+" % WHITE, text) if word)
    if name == "unicode_nfc":
        return unicodedata.normalize("NFC", text)
    if name == "title":
        return title(text)
    if name in ("lower", "upper"):
        return getattr(text, name)()
    if name == "replace":
        return text.replace(*argument)
    if name == "extract":
        found = re.search(argument, text)
        found = found and (found.group(1) if found.re.groups else found.group(0))
        return MISSING if found is None else found
    if name == "map":
        return mapped(argument, step, value)
    parts, index = text.split(argument), step.get("index", 0)
    return parts[index] if -len(parts) <= index < len(parts) else MISSING


# ---------------------------------------------------------------- columns

def computed(column, record):
    """The value that the steps begin with. `hash` is not here: the server has the function itself."""
    for name in ("product", "sum", "concat", "coalesce"):
        if name not in column:
            continue
        values = [field(path, record) for path in column[name]]
        there = [v for v in values if v is not MISSING]
        try:
            if name == "coalesce":
                return there[0] if there else MISSING
            if name in ("product", "sum"):
                numbers = [number_of(v) for v in there]
                if len(there) < len(values):
                    return MISSING
                result = numbers[0]
                for number in numbers[1:]:
                    result = limited(result * number if name == "product" else result + number)
                return result
            if not there:
                return MISSING
            separator = column.get("separator", "")
            return separator.join("" if v is MISSING else text_of(v) for v in values)
        except Refused as why:
            raise Refused(name) from why
    return field(column["path"], record)


def masked(column, value):
    mask = column.get("mask")
    if mask is None or value is MISSING:
        return value
    if mask == "redact":
        return "***"
    if mask == "null":
        return MISSING
    text = json.dumps(value) if isinstance(value, (dict, list)) else text_of(value)
    if mask == "hmac":
        return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()[:32]
    keep = column.get("keep", 4)
    return "*" * len(text) if len(text) <= keep else "*" * (len(text) - keep) + text[-keep:]


def value(column, record):
    try:
        result = computed(column, record)
        for step in column.get("apply", []):
            result = apply(step, result)
        result = masked(column, result)
        result = MISSING if result is MISSING else text_of(result)
    except Refused:
        if column.get("on_error") != "default":
            raise
        result = MISSING
    return column.get("default") if result is MISSING else result


# ---------------------------------------------------------------- cases

TEXTS = ["", " ", "a", " Straße\t", "O'NEIL-smith 2nd", "e\u0301\u0323 x", "\ufb01n \u01c6", "\u00a0wide\u3000 space\u2009", "UK", "a,b,,c",
         "order-42-x", "ΑΣ", "İstanbul", "12.50", "-3", "1e3", "0.005", "2.5", "3.5", "-2.5", "x" * 70, "日本 語", "true", "10", "9.999", "100",
         "1763719200", "1763719200123", "2025-11-21T10:00:00Z", "2025-03-30 00:59:59.5", "2025-10-26T01:30:00+01:00", "2024-02-29T23:59:59Z",
         "2018-11-04T02:59:59Z", "1999-12-31T23:59:59.999Z", "2098-07-01T12:00:00Z"]
NUMBERS = ["0", "-0", "1", "-1.5", "2.675", "0.125", "1E+2", "1e-3", "99999999999999999999.99", "1763719200", "1763719200123", "-62135", "10", "100",
           "12345678901234567890123456789", "0.5", "1.5", "2.50", "7.000"]
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"]
TEXT_STEPS = ["trim", "lower", "upper", "title", "normalize_space", "unicode_nfc", {"replace": ["a", "bb"]}, {"replace": ["-", ""]},
              {"extract": "([0-9]+)"}, {"extract": "[a-z]+"}, {"extract": "(x)?b"}, {"map": {"UK": "GB", "a": "b", "1": "one"}},
              {"map": {"UK": "GB"}, "default": "??"}, {"split": ",", "index": 2}, {"split": "-", "index": 1}, {"split": ",", "index": -1}]
NUMBER_STEPS = ["abs", {"round": 0}, {"round": 2}, {"scale": "0.01"}, {"scale": "-2.5"}, {"bucket": [0, 10, 100]}, {"bucket": ["-1.5", "0.5"]}]
SPANS = ["1d", "7d", "1w", "3d", "15m", "1h", "6h", "30s", "24h"]
PARTS = ["hour", "day_of_week", "day_of_month", "month", "quarter", "is_weekend", "is_business_hours"]


def time_steps(pick):
    step = {"part": pick(PARTS)} if pick([0, 1]) else {"truncate_time": pick(SPANS)}
    step["zone"] = pick(ZONES)
    if step.get("part") == "is_business_hours" and pick([0, 1]):
        step["hours"] = [7, 20]
    return [step] if pick([0, 1, 2]) else [{"unit": pick(["s", "ms", "us"])}, step]


def random_column(pick):
    kind = pick(["text", "text", "number", "time", "time", "computed", "mixed", "mask"])
    if kind == "computed":
        name = pick(["product", "sum", "concat", "coalesce"])
        column = {name: [pick(["$.t", "$.n", "$.m", "$.d.x", "$.d.l[1]", "$.none"]) for _ in range(pick([1, 2, 3]))]}
        if name == "concat":
            column["separator"] = pick(["", "-", ", "])
        if pick([0, 1]):
            column["apply"] = [pick(TEXT_STEPS + NUMBER_STEPS)]
        return column
    path = pick(["$.t", "$.t", "$.n", "$.m", "$.d.x", "$.d.l[1]", "$.d"])
    if kind == "mask":
        path = "$.t" if path == "$.d" else path
        return {"path": path, "mask": pick(["hmac", "redact", "null", "keep_last"]), "apply": ["trim"]}
    steps = {"text": lambda: [pick(TEXT_STEPS) for _ in range(pick([1, 2]))], "number": lambda: [pick(NUMBER_STEPS) for _ in range(pick([1, 2]))],
             "time": lambda: time_steps(pick), "mixed": lambda: [pick(TEXT_STEPS), pick(NUMBER_STEPS)]}[kind]()
    return {"path": path, "apply": steps}


def random_record(pick):
    text = lambda: pick([json.dumps(pick(TEXTS)), json.dumps(pick(TEXTS)), pick(NUMBERS), "null", "true"])
    number = lambda: pick([pick(NUMBERS), pick(NUMBERS), json.dumps(pick(NUMBERS))])
    return '{"t":%s,"n":%s,"m":%s,"d":{"x":%s,"l":[%s,%s]}}' % (text(), number(), number(), text(), number(), text())


def outcome(column, record):
    try:
        return {"value": value(column, load(record))}
    except Refused as why:
        return {"refused": why.args[0]}


def main():
    if sys.argv[1] == "cases":
        with open(sys.argv[2], encoding="utf-8") as f:
            for case in json.load(f):
                print(json.dumps({**case, **outcome(case["column"], case["record"])}, ensure_ascii=False))
        return
    seed, columns, records = map(int, sys.argv[2:5])
    pick = random.Random(seed).choice
    columns = [random_column(pick) for _ in range(columns)]
    for record in (random_record(pick) for _ in range(records)):
        print(json.dumps({"record": record, "columns": columns, "outcomes": [outcome(c, record) for c in columns]}))


if __name__ == "__main__":
    main()
