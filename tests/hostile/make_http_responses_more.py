"""The other half of `make_http_responses`: event streams, sizes, answers that nobody asked for, and answers that end at each byte."""
from __future__ import annotations

from collections.abc import Iterator

from hostile.make_http_requests import chunk
from hostile.make_http_responses import (
    BROKEN,
    CHUNKED,
    EVENTS,
    FIELD_LIMIT,
    HEAD_LIMIT,
    KIND,
    MESSAGE_LIMIT,
    NOTE,
    OK,
    PROGRESS,
    REPLY,
    RESULT,
    TIMEOUT,
    TOO_LARGE,
    broken,
    chunked,
    event,
    good,
    reply,
    row,
    stream,
    whole,
)
from hostile.rows import Row


def event_streams() -> Iterator[Row]:
    both = [PROGRESS, ["7", "result"]]
    yield row("events", "one after the other", stream(event(NOTE), event(REPLY)), 200, both)
    yield row("events", "in one chunk", stream(event(NOTE) + event(REPLY)), 200, both)
    yield row("events", "of a byte each", stream(*(event(NOTE) + event(REPLY))), 200, both)
    for end in ("\r\n", "\r", "\n"):
        yield row("events", f"with {end!r}", stream((event(NOTE) + event(REPLY)).replace("\n", end)), 200, both)
    for name, text in (("a comment", ":x\n\n"), ("a long comment", ":" + "x" * 50_000 + "\n"), ("a hundred comments", ": x\n\n" * 100), ("blank lines", "\n\n\n"), ("a priming event", "id: 1\ndata:\n\n"),
                       ("retry", "retry: 5\n\n"), ("a bad retry", "retry: x\n\n"), ("a huge retry", f"retry: {'9' * 1000}\n\n"), ("a field of no name", ": \n"), ("an unknown field", "foo: bar\n"), ("a line without colon", "foo\n"),
                       ("an id with NUL", "id: a\x00b\n"), ("an id outside ASCII", "id: \xff\n"), ("a byte order mark", "\xef\xbb\xbf"), ("event: message", "event: message\n")):  # fmt: skip
        yield row("events", f"{name} first", stream(text + event(REPLY)), 200, RESULT)
    yield row("events", "of another type first", stream("event: ping\ndata: x\n\n" + event(REPLY)), 200, [["event", "ping"], ["7", "result"]])
    yield row("events", "an endpoint", stream("event: endpoint\ndata: http://evil.example/\n\n" + event(REPLY)), 200, [["event", "endpoint"], ["7", "result"]])
    yield row("events", "data over lines", stream('data: {"jsonrpc":"2.0",\ndata: "id":7,\ndata: "result":{}}\n\n'), 200, RESULT)
    yield row("events", "data without a blank", stream(f"data:{REPLY}\n\n"), 200, RESULT)
    for name, data in (("garbage", "garbage"), ("no message", '{"a":1}'), ("half a message", REPLY[:-1]), ("two messages", REPLY + REPLY), ("an array", f"[{REPLY}]"), ("bad UTF-8", REPLY.replace("{}", '"\xff"')), ("depth", "[" * 5000),
                       ("NUL", "\x00"), ("another version", REPLY.replace("2.0", "1.0"))):  # fmt: skip
        yield row("events", f"{name} for data", stream(event(data)), 200, [["7", BROKEN]], None)
        yield row("events", f"{name} for data after a good one", stream(event(NOTE), event(data), event(REPLY)), 200, [PROGRESS, ["7", BROKEN]], None)
    yield row("events", "nothing after the response", stream(event(REPLY), event(NOTE), event(reply("8"))), 200, RESULT)
    yield row("events", "the response twice", stream(event(REPLY), event(REPLY)), 200, RESULT)
    yield row("events", "garbage after the response", stream(event(REPLY), event("garbage")), 200, RESULT, at_once=True)
    yield row("events", "the end without a response", stream(event(NOTE)), 200, [PROGRESS, ["7", BROKEN]])
    yield row("events", "the end without anything", stream(), 200, [["7", BROKEN]])
    yield row("events", "silence without a response", EVENTS + chunk(event(NOTE)), 200, [PROGRESS, ["7", TIMEOUT]], False)
    yield row("events", "silence after the response", EVENTS + chunk(event(REPLY)), 200, RESULT, False)
    yield row("events", "a response that its end cuts short", stream(f"data: {REPLY}\n"), 200, [["7", BROKEN]])
    yield row("events", "as long as the connection", f"{OK}content-type: text/event-stream\r\n\r\n{event(NOTE)}{event(REPLY)}", 200, both, False, True)
    yield row("events", "with a length", f"{OK}content-type: text/event-stream\r\ncontent-length: {len(event(REPLY))}\r\n\r\n{event(REPLY)}", 200, RESULT)
    yield row("events", "with a length that is too short", f"{OK}content-type: text/event-stream\r\ncontent-length: 20\r\n\r\n{event(REPLY)}", 200, [["7", BROKEN]], False, at_once=True)
    yield row("events", "bad chunks after a good one", f"{EVENTS}{chunk(event(NOTE))}zz\r\n", 200, [PROGRESS, ["7", BROKEN]], False)
    yield row("events", "bad chunks after the response", f"{EVENTS}{chunk(event(REPLY))}zz\r\n", 200, RESULT, False)
    for kind in ("Text/Event-Stream", "text/event-stream; charset=utf-8"):
        yield row("events", f"type {kind}", stream(event(REPLY)).replace("text/event-stream", kind), 200, RESULT)
    for status in (201, 202, 206, 299):
        yield row("events", f"status {status}", stream(event(REPLY)).replace("200", str(status), 1), 502, [["7", BROKEN]], False)
    for status in (400, 404, 500, 503):
        yield row("events", f"status {status}", stream(event(REPLY)).replace("200", str(status), 1), status, RESULT, True)
    yield row("events", "a request of the server's", stream(event('{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}'), event(REPLY)), 200, [["7", "sampling/createMessage"], ["7", "result"]])
    for count in (10, 1000):
        yield row("events", f"{count} notifications", [EVENTS, [chunk(event(NOTE)), count], chunk(event(REPLY)) + "0\r\n\r\n"], 200, [PROGRESS] * count + RESULT)


def sizes() -> Iterator[Row]:
    for count in (FIELD_LIMIT - 10, FIELD_LIMIT - 2):
        yield good("sizes", f"{count + 2} fields", whole("a: b\r\n" * count))
    for count in (FIELD_LIMIT - 1, FIELD_LIMIT, 1000, 100_000):
        yield broken("sizes", f"{count + 2} fields", [f"{OK}{KIND}content-length: {len(REPLY)}\r\n", ["a: b\r\n", count], f"\r\n{REPLY}"])
    endless = {"a reason": ("HTTP/1.1 200 ", "x"), "a field's name": (OK, "x"), "a field's value": (f"{OK}a: ", "x"), "blanks": (f"{OK}a:", " "), "fields": (OK, "a: b\r\n"), "empty lines": ("", "\r\n"),
               "a chunk extension": (chunked("1;"), "x"), "a trailer": (chunked(f"{chunk(REPLY)}0\r\na: "), "x"), "trailers": (chunked(f"{chunk(REPLY)}0\r\n"), "a: b\r\n"), "a chunk's size": (chunked(""), "0")}  # fmt: skip
    for name, (start, unit) in endless.items():
        for size in (4 * HEAD_LIMIT, 16 * HEAD_LIMIT):
            yield broken("sizes", f"{name} of {size} without end", [start, [unit, size // len(unit)]])
    for size, status in ((MESSAGE_LIMIT - 1, 200), (MESSAGE_LIMIT, 200), (MESSAGE_LIMIT + 1, 502), (10 * MESSAGE_LIMIT, 502)):
        content = reply(outcome='"result":"%s"' % ("x" * (size - len(reply(outcome='"result":""')))))
        code = "result" if status == 200 else TOO_LARGE
        for name, answer, again in (("with a length", whole(content=content), True), ("in chunks", chunked(chunk(content[:100]) + chunk(content[100:]) + "0\r\n\r\n"), True)):
            yield row("sizes", f"a body of {size} {name}", answer, status, [["7", code]], again and status == 200)
        if status == 200:
            yield good("sizes", f"a body of {size} until the end", f"{OK}{KIND}\r\n{content}", False, True)
        yield row("sizes", f"an event of {size + 6}", stream(event(content)), 200, [["7", "result" if size + 6 <= MESSAGE_LIMIT else BROKEN]], True if size + 6 <= MESSAGE_LIMIT else None)
    for name, start in (("an event without end", "data: "), ("a field without end", "foo: "), ("a comment without end", ":"), ("an id without end", "id: "), ("a line without a field", "")):
        yield row("sizes", name, [EVENTS, [chunk("x" * 1000) if start == "" else chunk(start), 1], [chunk("x" * 1000), 200]], 200, [["7", BROKEN]], False)
    yield row("sizes", "an event of many short lines", [EVENTS, [chunk("data: x\n"), MESSAGE_LIMIT // 6]], 200, [["7", BROKEN]], False)
    yield row("sizes", "an event of many nameless lines", [EVENTS, [chunk("x\n" * 100), 2000]], 200, [["7", BROKEN]], False)
    yield row("sizes", "comments for ever", [EVENTS, [chunk(":" + "x" * 998 + "\n"), 500], chunk(event(REPLY)) + "0\r\n\r\n"], 200, RESULT)
    for status in (401, 500):
        for size in (65536, 65537, 1_000_000):
            yield row("sizes", f"a refusal {status} of {size}", [f"HTTP/1.1 {status} X\r\ncontent-length: {size}\r\n\r\n", ["x", size]], status, [["body", "x" * 40]], {65536: True, 65537: None}.get(size, False))
        yield row("sizes", f"a refusal {status} without end", [f"HTTP/1.1 {status} X\r\n\r\n", ["x", 1_000_000]], status, [["body", "x" * 40]], False)


def unasked() -> Iterator[Row]:
    """More than one answer to one request: the first counts, and the connection is not used again."""
    stolen = whole(content=reply(outcome='"result":{"stolen":true}'))
    for name, more in (("another answer", stolen), ("another answer with another id", whole(content=reply("8"))), ("half an answer", stolen[:20]), ("a byte", "x"), ("garbage", "\x00\xff" * 100), ("an interim answer", "HTTP/1.1 100 X\r\n\r\n"),
                       ("a timeout", "HTTP/1.1 408 X\r\ncontent-length: 0\r\n\r\n"), ("ten answers", stolen * 10), ("an upgrade", "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")):  # fmt: skip
        for first, answer in (("a length", whole()), ("chunks", chunked(chunk(REPLY) + "0\r\n\r\n")), ("events", stream(event(REPLY)))):
            yield good("unasked", f"{name} after {first}", answer + more, False, at_once=True)
    for line in ("HTTP/1.1 204 X\r\n", "HTTP/1.1 304 X\r\n"):
        yield row("unasked", f"a body after {line[9:12]}", f"{line}content-length: {len(REPLY)}\r\n\r\n{REPLY}", 502, [["7", BROKEN if "204" in line else 1005]], False, at_once=True)


def short_of() -> Iterator[Row]:
    """The connection ends at each byte."""
    for name, answer in (("a length", whole("x: y\r\n")), ("chunks", chunked(chunk(REPLY[:5]) + chunk(REPLY[5:]) + "0\r\n\r\n")), ("a refusal", whole(content="no", line="HTTP/1.1 500 X\r\n", kind=""))):
        for size in range(1, len(answer)):
            yield broken("ends", f"after {size} bytes of {name}", answer[:size], True)
    first = EVENTS + f"{len(event(NOTE)):x}\r\n" + event(NOTE)
    second = first + f"\r\n{len(event(REPLY)):x}\r\n" + event(REPLY)
    answer = stream(event(NOTE), event(REPLY))
    for size in range(1, len(answer)):
        if size < len(EVENTS):
            yield broken("ends", f"after {size} bytes of events", answer[:size], True)
        else:
            messages = [*([PROGRESS] if size >= len(first) else []), ["7", "result" if size >= len(second) else BROKEN]]
            yield row("ends", f"after {size} bytes of events", answer[:size], 200, messages, False, True)
    body = f"{OK}{KIND}\r\n{REPLY}"
    for size in range(1, len(body)):
        yield row("ends", f"after {size} bytes of one that lasts until then", body[:size], 502, [["7", BROKEN]], False, True)
    for size in range(0, len(whole()), 7):
        yield row("silence", f"after {size} bytes of a length", whole()[:size], 504, [["7", TIMEOUT]], False)
    for size in range(0, len(EVENTS), 7):
        yield row("silence", f"after {size} bytes of events", EVENTS[:size], 504, [["7", TIMEOUT]], False)
    assert CHUNKED in EVENTS


def more_http_responses() -> Iterator[Row]:
    for family in (event_streams, sizes, unasked, short_of):
        yield from family()
