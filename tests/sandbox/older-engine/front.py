#!/usr/bin/env python3
"""ClickHouse's HTTP interface over an engine older than the one that `sandbox clickhouse` loads.

    front.py WHEEL PORT DATA     WHEEL: an unpacked wheel of chdb; only its module `_chdb` is used

One session, one statement after the other: settings of a request are set before its statement and taken back
after it. The rows of an insert are read whole and given to the engine as a file, so that an insert whose body
ends early never begins. Only the standard library is needed.
"""

import json
import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

WHEEL, PORT, DATA = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path.insert(0, os.path.join(WHEEL, "chdb"))
import _chdb  # noqa: E402

# What stands in the address besides settings.
NOT_SETTINGS = {
    "query", "database", "default_format", "decompress", "compress", "user", "password", "query_id",
    "role", "session_id", "session_timeout", "wait_end_of_query", "buffer_size", "quota_key",
}
NOT_FOUND, FORBIDDEN, BAD_REQUEST = {16, 46, 47, 60, 81}, {497, 516}, {27, 53, 62, 115, 117}
UNKNOWN_EXCEPTION = 1002
# `INSERT … FORMAT name`: what follows is rows.
ROWS_FOLLOW = re.compile(rb"\sFORMAT\s+(\w+)[ \t]*\r?\n?", re.IGNORECASE)
READS_ITS_ROWS = re.compile(rb"\b(SELECT|VALUES)\b", re.IGNORECASE)
CHECKSUM_BYTES, HEADER_BYTES, METHOD_LZ4 = 16, 9, 0x82

engine = _chdb.connect(DATA)
one_at_a_time = threading.Lock()


def decompress_lz4(block, size):
    """One block of LZ4, as its specification says."""
    out, at = bytearray(), 0

    def length(start, at):
        while start >= 15:
            byte = block[at]
            at, start = at + 1, start + byte
            if byte != 255:
                break
        return start, at

    while at < len(block):
        token = block[at]
        literals, at = length(token >> 4, at + 1)
        out += block[at:at + literals]
        at += literals
        if at >= len(block):
            break
        distance = block[at] | block[at + 1] << 8
        matched, at = length(token & 15, at + 2)
        matched, begin = matched + 4, len(out) - distance
        while matched > 0:
            piece = out[begin:begin + min(matched, distance)]
            out += piece
            matched -= len(piece)
    if len(out) != size:
        raise ValueError("Code: 271. DB::Exception: a compressed block has another size than it says")
    return bytes(out)


def decompress(frames):
    """ClickHouse's own compressed blocks; their checksums are not looked at."""
    out, at = [], 0
    while at < len(frames):
        head = at + CHECKSUM_BYTES
        size, raw_size = (int.from_bytes(frames[head + n:head + n + 4], "little") for n in (1, 5))
        payload = frames[head + HEADER_BYTES:head + size]
        out.append(decompress_lz4(payload, raw_size) if frames[head] == METHOD_LZ4 else payload)
        at = head + size
    return b"".join(out)


def run(sql, output_format="TabSeparated"):
    result = engine.query(sql, output_format)
    return bytes(result.bytes()) if hasattr(result, "bytes") else b""


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


# What the session was told last: most requests want the same.
session = {"settings": {}, "database": "default"}


def prepare(settings, database):
    """Settings and database of the next statement; the engine takes its time for each SET."""
    last = session["settings"]
    changes = [f"`{name}` = {quoted(value)}" for name, value in settings.items() if last.get(name) != value]
    gone = [name for name in last if name not in settings and not name.startswith("param_")]
    changes += [f"`{name}` = DEFAULT" for name in gone]
    # Whatever of it fails: it is all told again.
    session["settings"] = {**dict.fromkeys(last), **dict.fromkeys(settings)}
    if changes:
        run("SET " + ", ".join(changes))
    session["settings"] = settings
    if session["database"] != database:
        run(f"USE `{database}`")
        session["database"] = database


def answer(parameters, body, output_format, database):
    """Runs the statement of one request."""
    statement = parameters.get("query", "").encode()
    text = statement + (b"\n" if statement and body else b"") + body
    settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS}
    prepare(settings, database or "default")
    if text.lstrip()[:6].upper() == b"INSERT":
        rows = ROWS_FOLLOW.search(text)
        if rows and not READS_ITS_ROWS.search(text[:rows.start()]):
            return insert(text[:rows.start()], rows.group(1), text[rows.end():])
    return run(text.decode("utf8", "surrogateescape"), output_format)


def insert(head, rows_format, rows):
    with tempfile.NamedTemporaryFile(dir=DATA, prefix="rows-") as file:
        file.write(rows)
        file.flush()
        run(f"{head.decode()} FROM INFILE {quoted(file.name)} COMPRESSION 'none' FORMAT {rows_format.decode()}")
    return b""


class Client(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        """The whole of it, or EOFError."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.exactly(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"x", 16)
            piece = self.exactly(size)
            self.exactly(2)
            if size == 0:
                return b"".join(pieces)
            pieces.append(piece)

    def exactly(self, size):
        data = self.rfile.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def reply(self, status, body, headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        address = urlsplit(self.path)
        parameters = dict(parse_qsl(address.query, keep_blank_values=True))
        try:
            body = self.body()
        except (EOFError, ValueError, OSError):
            self.close_connection = True
            return
        if address.path == "/ping":
            self.reply(200, b"Ok.\n", [])
            return
        output_format = parameters.get("default_format") or self.headers.get("X-ClickHouse-Format")
        database = parameters.get("database") or self.headers.get("X-ClickHouse-Database")
        try:
            if parameters.get("decompress") == "1":
                body = decompress(body)
            with one_at_a_time:
                output = answer(parameters, body, output_format or "TabSeparated", database)
        except Exception as error:  # The engine's own are RuntimeError.
            self.refuse(str(error))
            return
        summary = json.dumps({"read_rows": "0", "written_rows": "0"})
        headers = [("X-ClickHouse-Summary", summary), ("X-ClickHouse-Timezone", "UTC")]
        self.reply(200, output, headers)

    def refuse(self, message):
        found = re.search(r"Code: (\d+)", message)
        code = int(found.group(1)) if found else UNKNOWN_EXCEPTION
        known = [(404, NOT_FOUND), (403, FORBIDDEN), (400, BAD_REQUEST)]
        status = next((status for status, codes in known if code in codes), 500)
        self.reply(status, message.encode(), [("X-ClickHouse-Exception-Code", str(code))])


server = ThreadingHTTPServer(("127.0.0.1", PORT), Client)
server.daemon_threads = True
server.serve_forever()
