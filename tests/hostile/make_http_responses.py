"""Rows of `http_responses`: what an HTTP server answers to a request with the id 7, and what its client gets through the proxy.

A row: `answer`; `end` if the server closes after it; `status` and `messages` as the client gets them (`hostile.memory_client.spelled`); `again`, whether
the proxy uses that connection for the next request, which is answered properly in any case (null: that depends on how the bytes were cut). Each is sent whole and, but for those that are `at_once`,
byte by byte. 502 with 1003 says that the server does not keep to its protocol, 1005 that it redirects, 504 with 1004 that it did not answer in time.
"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from hostile.make_http_requests import BAD_LENGTHS, TOKEN, chunk
from hostile.make_messages import BAD_UTF8, GOOD_UTF8, NOT_JSON, NOT_VALUES, VALUES
from hostile.rows import Part, Row

MESSAGE_LIMIT = 100_000
FIELD_LIMIT, HEAD_LIMIT = 256, 64 * 1024
BROKEN, TIMEOUT, REDIRECTS, TOO_LARGE = 1003, 1004, 1005, 1104
OK = "HTTP/1.1 200 OK\r\n"
KIND = "content-type: application/json\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"
EVENTS = f"{OK}content-type: text/event-stream\r\n{CHUNKED}\r\n"


def reply(id: str = "7", outcome: str = '"result":{}') -> str:
    return f'{{"jsonrpc":"2.0","id":{id},{outcome}}}'


REPLY = reply()
NOTE = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'
RESULT: list[list[Any]] = [["7", "result"]]
PROGRESS: list[Any] = ["-", "notifications/progress"]


def row(family: str, name: str, answer: str | list[Part], status: int, messages: list[list[Any]], again: bool | None = True, end: bool = False, **more: Any) -> Row:
    parts: list[Part] = [answer] if isinstance(answer, str) else answer
    return {"family": family, "name": f"{family}: {name}", "answer": parts, "end": end, "status": status, "messages": messages, "again": again, **more}


def good(family: str, name: str, answer: str | list[Part], again: bool = True, end: bool = False, **more: Any) -> Row:
    return row(family, name, answer, 200, RESULT, again, end, **more)


def broken(family: str, name: str, answer: str | list[Part], end: bool = False, code: int = BROKEN, **more: Any) -> Row:
    return row(family, name, answer, 502, [["7", code]], False, end, **more)


def whole(fields: str = "", content: str = REPLY, line: str = OK, kind: str = KIND) -> str:
    return f"{line}{kind}content-length: {len(content)}\r\n{fields}\r\n{content}"


def chunked(chunks: str, fields: str = "") -> str:
    return f"{OK}{KIND}{fields}{CHUNKED}\r\n{chunks}"


def event(data: str, more: str = "") -> str:
    return f"{more}data: {data}\n\n"


def stream(*events: str, end: str = "0\r\n\r\n") -> str:
    return EVENTS + "".join(chunk(text) for text in events) + end


def framing() -> Iterator[Row]:
    yield good("framing", "a length", whole())
    yield good("framing", "chunks", chunked(chunk(REPLY) + "0\r\n\r\n"))
    yield good("framing", "chunks of a byte", chunked("".join(chunk(letter) for letter in REPLY) + "0\r\n\r\n"))
    yield good("framing", "until the end", f"{OK}{KIND}\r\n{REPLY}", False, True)
    yield good("framing", "HTTP/1.0", f"HTTP/1.0 200 OK\r\n{KIND}\r\n{REPLY}", False, True)
    yield good("framing", "connection: close", whole("connection: close\r\n"), False)
    for value in BAD_LENGTHS:
        if value not in ("", " ", "\t"):
            yield broken("framing", f"length {value!r}", f"{OK}{KIND}content-length: {value}\r\n\r\n{REPLY}")
    for value in ("", " ", "\t"):
        yield broken("framing", f"length {value!r}", f"{OK}{KIND}content-length:{value}\r\n\r\n{REPLY}")
    for first, second in product([str(len(REPLY)), "1", "0", "x", "1000"], repeat=2):
        yield broken("framing", f"lengths {first} and {second}", f"{OK}{KIND}content-length: {first}\r\ncontent-length: {second}\r\n\r\n{REPLY}")
    for length, coding in product(["0", "5", str(len(REPLY)), "x"], ["chunked", "Chunked", "gzip, chunked"]):
        for fields in (f"content-length: {length}\r\ntransfer-encoding: {coding}\r\n", f"transfer-encoding: {coding}\r\ncontent-length: {length}\r\n"):
            yield broken("framing", f"{fields!r}", f"{OK}{KIND}{fields}\r\n{chunk(REPLY)}0\r\n\r\n")
    for size in (1, 10, len(REPLY) - 1):
        yield broken("framing", f"length {size} is too short", f"{OK}{KIND}content-length: {size}\r\n\r\n{REPLY}", at_once=True)
    for size in (len(REPLY) + 1, 1000, 2**62, 2**64 - 1):
        yield broken("framing", f"length {size} is too long, and it ends", f"{OK}{KIND}content-length: {size}\r\n\r\n{REPLY}", True)
    for size in (len(REPLY) + 1, 1000):
        yield row("framing", f"length {size} is too long, and it is silent", f"{OK}{KIND}content-length: {size}\r\n\r\n{REPLY}", 504, [["7", TIMEOUT]], False)
    yield row("framing", "no length, and it is silent", f"{OK}{KIND}\r\n{REPLY}", 504, [["7", TIMEOUT]], False)
    yield row("framing", "nothing", "", 504, [["7", TIMEOUT]], False)
    yield broken("framing", "nothing, and it ends", "", True)
    yield row("framing", "length 0", f"{OK}{KIND}content-length: 0\r\n\r\n", 502, [["7", BROKEN]])
    for said in ("", "g", "-1", "+1", "0x1", " 28", "fffffffffffffffff", "28\x00"):
        yield broken("framing", f"a chunk of {said!r}", chunked(f"{said}\r\n{REPLY}\r\n0\r\n\r\n"))
    for text in (REPLY + "x", REPLY[:-1]):
        yield broken("framing", f"a chunk {len(text) - len(REPLY):+} bytes", chunked(f"{len(REPLY):x}\r\n{text}\r\n0\r\n\r\n"))
    for trailer in ("x: y\r\n", "content-type: text/html\r\n", "mcp-session-id: x\r\n"):
        yield good("framing", f"trailer {trailer!r}", chunked(f"{chunk(REPLY)}0\r\n{trailer}\r\n"))
    for trailer in ("content-length: 3\r\n", "x y: z\r\n", ": x\r\n", "x: \x00\r\n"):
        yield row("framing", f"bad trailer {trailer!r}", chunked(f"{chunk(REPLY)}0\r\n{trailer}\r\n"), 502, [["7", BROKEN]], False)
    for end in ("\n", "\r", "\n\r", "\x0b"):
        parts = whole().split("\r\n")
        for place in range(len(parts) - 1):
            if not (end == "\r" and place == len(parts) - 2):
                yield broken("line ends", f"{end!r} for line end {place}", "\r\n".join(parts[: place + 1]) + end + "\r\n".join(parts[place + 1 :]))


def every_byte() -> Iterator[Row]:
    for number in range(256):
        byte, name = chr(number), f"0x{number:02x}"
        is_name = byte in TOKEN or byte == ":"
        yield (good if is_name else broken)("bytes of a field name", name, whole(f"fo{byte}o: a\r\n"))
        is_value = number in (9, *range(32, 127), *range(128, 256))
        yield (good if is_value else broken)("bytes of a field value", name, whole(f"foo: a{byte}b\r\n"))
        if byte not in "0123456789abcdefABCDEF":
            yield broken("bytes after a chunk's size", name, chunked(chunk(REPLY, extension=byte) + "0\r\n\r\n"))


def status_lines() -> Iterator[Row]:
    for line in ("HTTP/1.1 200\r\n", "HTTP/1.1 200 \r\n", "HTTP/1.1 200 " + "x" * 1000 + "\r\n", "HTTP/1.1 200 \xc3\xa9\r\n", "HTTP/1.1 200 404 Not Found\r\n"):
        yield good("status lines", repr(line[:40]), whole(line=line))
    for line in ("HTTP/1.1 20 OK\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 -200 OK\r\n", "HTTP/1.1 +200 OK\r\n", "HTTP/1.1 0x200 OK\r\n", "HTTP/1.1 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.1200 OK\r\n",
                 "HTTP/1.9 200 OK\r\n", "HTTP/3.0 200 OK\r\n", "HTTP/1 200 OK\r\n", "HTTP 200 OK\r\n", "http/1.1 200 OK\r\n", "HTTPS/1.1 200 OK\r\n", "ICY 200 OK\r\n", " HTTP/1.1 200 OK\r\n", "200 OK\r\n",
                 "SSH-2.0-OpenSSH_9\r\n", "220 mail ESMTP\r\n", "\x15\x03\x01\x00\x02\x02\x46\r\n", "\x00\r\n", "<html>\r\n", '{"jsonrpc":"2.0","id":7,"result":{}}\r\n', "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n",
                 "\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n"):  # fmt: skip
        yield broken("status lines", repr(line), whole(line=line))
    for status in (101, 200):
        for protocol in ("websocket", "h2c"):
            yield broken("status lines", f"{status} and an upgrade to {protocol}", f"HTTP/1.1 {status} X\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n\x81\x05hello") if status == 101 else good("status lines", f"{status} with an offer of {protocol}", whole(f"upgrade: {protocol}\r\n"))
    for count in (1, 2, 10, 1000):
        for interim in ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", "HTTP/1.1 199 X\r\n\r\n"):
            yield good("status lines", f"{count} times {interim[9:12]} before it", [[interim, count], whole()])
            if count < 1000:
                yield broken("status lines", f"{count} times {interim[9:12]} and the end", [[interim, count]], True)


def answers() -> Iterator[Row]:
    """Statuses, content types and bodies, each with each."""
    error = reply(outcome='"error":{"code":-32601,"message":"no"}')
    for status in (200, 201, 202, 206, 299, 400, 401, 403, 404, 405, 406, 415, 429, 500, 501, 502, 503, 504, 599):
        line = f"HTTP/1.1 {status} X\r\n"
        yield row("answers", f"{status} with a result", whole(line=line), status, RESULT)
        yield row("answers", f"{status} with an error", whole(content=error, line=line), status, [["7", -32601]])
        for kind, content in (("text/plain", "no"), ("text/html", "<b>no</b>"), ("", "no"), ("application/octet-stream", "no")):
            field = f"content-type: {kind}\r\n" if kind else ""
            if status < 300:
                yield row("answers", f"{status} with {kind or 'no type'}", whole(content=content, line=line, kind=field), 502, [["7", BROKEN]], False)
            else:
                yield row("answers", f"{status} with {kind or 'no type'}", whole(content=content, line=line, kind=field), status, [["body", content]])
        if status >= 300:
            yield row("answers", f"{status} with broken JSON", whole(content="{no", line=line), status, [["body", "{no"]], at_once=True)
        else:
            yield row("answers", f"{status} with broken JSON", whole(content="{no", line=line), 502, [["7", BROKEN]])
    for status, location in product((300, 301, 302, 303, 304, 305, 307, 308, 399), ("http://evil.example/", "/mcp", "", None)):
        field = "" if location is None else f"location: {location}\r\n"
        for content, kind in ((REPLY, KIND), ("moved", "content-type: text/html\r\n")):
            if status != 304:
                yield row("answers", f"{status} to {location} with {content[:5]}", whole(field, content, f"HTTP/1.1 {status} X\r\n", kind), 502, [["7", REDIRECTS]], False)
        if status == 304:
            yield row("answers", f"304 to {location}", f"HTTP/1.1 304 X\r\n{field}\r\n", 502, [["7", REDIRECTS]])
    yield row("answers", "204", "HTTP/1.1 204 X\r\n\r\n", 502, [["7", BROKEN]])
    yield row("answers", "205", "HTTP/1.1 205 X\r\ncontent-length: 0\r\n\r\n", 502, [["7", BROKEN]])
    for kind in ("Application/JSON", "application/json;charset=utf-8", "application/json ; x", "APPLICATION/JSON"):
        yield good("answers", f"type {kind}", whole(kind=f"content-type: {kind}\r\n"))
    for kind in ("text/json", "text/plain, application/json", "json", " ", "text/event-strea", "multipart/form-data; boundary=x", '"application/json"', "*/*"):
        yield row("answers", f"type {kind!r}", whole(kind=f"content-type: {kind}\r\n"), 502, [["7", BROKEN]], False)
    for coding in ("gzip", "br", "deflate", "zstd", "x", "gzip, identity", "GZIP"):
        yield row("answers", f"compressed by {coding}", whole(f"content-encoding: {coding}\r\n", "\x1f\x8b\x08\x00"), 502, [["7", BROKEN]], False)
        yield row("answers", f"events compressed by {coding}", f"{OK}content-type: text/event-stream\r\ncontent-encoding: {coding}\r\n{CHUNKED}\r\n{chunk(event(REPLY))}0\r\n\r\n", 502, [["7", BROKEN]], False)
    yield good("answers", "compressed by identity", whole("content-encoding: identity\r\n"))


def more_bodies() -> Iterator[Row]:
    from hostile.make_messages_more import BAD_IDS

    for text in NOT_JSON:
        yield row("bodies", f"not JSON: {text[:50]!r}", whole(content=text), 502, [["7", BROKEN]])
    for value in NOT_VALUES:
        yield row("bodies", f"not JSON within: {value!r}", whole(content=reply(outcome=f'"result":{{"a":{value}}}')), 502, [["7", BROKEN]])
    for value in VALUES:
        yield good("bodies", f"{value[:50]!r}", whole(content=reply(outcome=f'"result":{{"a":{value}}}')))
    for text in BAD_UTF8:
        yield row("bodies", f"encoding {text!r}", whole(content=reply(outcome=f'"result":"{text}"')), 502, [["7", BROKEN]])
    for text in GOOD_UTF8:
        yield good("bodies", f"encoding {text!r}", whole(content=reply(outcome=f'"result":"{text}"')))
    for id in ("8", "-7", "77", "0", '"7"', '"8"', "7.0", "7e0", *[bad for bad in BAD_IDS if len(bad) < 100]):
        if id != "null":
            yield row("ids", f"{id} with a result", whole(content=reply(id)), 502, [["7", BROKEN]])
            yield row("ids", f"{id} with an error", whole(content=reply(id, '"error":{"code":-1,"message":""}')), 502, [["7", BROKEN]])
            yield row("ids", f"{id} among events", stream(event(reply(id))), 200, [["7", BROKEN]], None)
    for name, head in (("null", '"id":null,'), ("no", "")):
        yield row("ids", f"{name} id with a result", whole(content=f'{{"jsonrpc":"2.0",{head}"result":{{}}}}'), 502, [["7", BROKEN]])
        yield row("ids", f"{name} id with an error", whole(content=f'{{"jsonrpc":"2.0",{head}"error":{{"code":-1,"message":""}}}}'), 200, [["7", -1]])
        yield row("ids", f"{name} id with an error among events", stream(event(f'{{"jsonrpc":"2.0",{head}"error":{{"code":-1,"message":""}}}}')), 200, [["7", -1]])
    yield good("ids", "twice, the last good", whole(content='{"jsonrpc":"2.0","id":8,"id":7,"result":{}}'))
    yield row("ids", "twice, the first good", whole(content='{"jsonrpc":"2.0","id":7,"id":8,"result":{}}'), 502, [["7", BROKEN]])
    for content in (NOTE, '{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}', "{}", '{"jsonrpc":"2.0","id":7}', reply(outcome='"result":{},"error":{"code":1,"message":""}'), f"[{REPLY}]", REPLY.replace("2.0", "1.0"),
                    '{"jsonrpc":"2.0","id":7,"method":"a","result":{}}'):  # fmt: skip
        yield row("bodies", f"no response: {content[:60]}", whole(content=content), 502, [["7", BROKEN]])


def http_responses() -> Iterator[Row]:
    from hostile.make_http_responses_more import more_http_responses

    yield from framing()
    yield from every_byte()
    yield from status_lines()
    yield from answers()
    yield from more_bodies()
    yield from more_http_responses()
