"""The event stream format: exact cases, any cut of the bytes, limits, and the way back."""
from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadowproxy.wire.sse import KEEP_ALIVE, Event, SseParser, TooLarge, encode_comment, encode_event

FIELDS = (b"data", b"data: x", b"data:  y", b"data:z", b"event: message", b"event: ping", b"event", b"id: 1", b"id:", b"id: a\0b", b"retry: 5")
SOUP = (*FIELDS, b"retry: 5x", b"retry:", b": hi", b":", b"other: 1", b" data: no", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"", b"", b"")

streams = st.builds(
    lambda lines: b"".join(line + end for line, end in lines),
    st.lists(st.tuples(st.sampled_from(SOUP), st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12),
)


def parse(*chunks: bytes, limit: int = 1 << 20) -> list[Event]:
    parser = SseParser(limit)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at)]


def as_the_format_says(stream: bytes) -> list[Event]:
    """The parser's model: the WHATWG algorithm over the whole stream at once, plus comments and events that only carry an id or a retry time."""
    events, event = [], dict[str, list[bytes]]()
    for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]:
        if line:
            name, _, value = line.partition(b":")
            event.setdefault(name.decode("latin-1"), []).append(value[1:] if value[:1] == b" " else value)
            continue
        ids = [value for value in event.get("id", ()) if b"\0" not in value]
        retries = [int(value) for value in event.get("retry", ()) if re.fullmatch(rb"[0-9]+", value)]
        kind = event.get("event", [b""])[-1]
        if "" in event:
            events.append(Event(b"", comment=b"\n".join(event[""])))
        if "data" in event or ids or retries:
            joined = b"\n".join(event.get("data", ()))
            events.append(Event(joined, ids[-1] if ids else None, b"" if kind == b"message" else kind, retries[-1] if retries else None))
        event = {}
    return events


@pytest.mark.parametrize(("stream", "events"), [
    # the examples of the WHATWG standard, 9.2.6
    (b"data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\n",
     [Event(b"This is the first message."), Event(b"This is the second message, it\nhas two lines.")]),
    (b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n", [Event(b"73857293", event=b"add"), Event(b"2153", event=b"remove")]),
    (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
     [Event(b"", comment=b"test stream"), Event(b"first event", b"1"), Event(b"second event", b""), Event(b" third event")]),
    (b"data\n\ndata\ndata\n\ndata:", [Event(b""), Event(b"\n")]),
    (b"data:test\n\ndata: test\n\n", [Event(b"test"), Event(b"test")]),
    # as the SDKs write it
    (b'event: message\ndata: {"jsonrpc":"2.0"}\n\n', [Event(b'{"jsonrpc":"2.0"}')]),
    (b"event: message\r\ndata: {}\r\n\r\n", [Event(b"{}")]),
    # what resumption needs (2025-11-25, basic/transports.mdx, "Sending Messages to the Server")
    (b"id: 7\ndata: \n\n", [Event(b"", b"7")]),
    (b"id: 7\n\n", [Event(b"", b"7")]),
    (b"retry: 500\n\n", [Event(b"", retry=500)]),
    # nothing in it
    (b"\n\n\n", []),
    (b"event: ping\n\n", []),
    (b"unknown: 1\n\n", []),
    (b":\r\n", []),
    (b"retry: -1\n\nretry: \xd9\xa1\n\nretry: 1.5\n\n", []),
    (b"retry: " + b"9" * 5000 + b"\n\n", []),
    (b"id: a\0b\n\n", []),
    # line ends: these three and no others
    (b"data: a\rdata: b\r\r", [Event(b"a\nb")]),
    (b"data: a\r\n\rdata: b\n\r\n", [Event(b"a"), Event(b"b")]),
    ("data: a\u2028b\u0085c\x0b\x0c\x1cd\n\n".encode(), [Event("a\u2028b\u0085c\x0b\x0c\x1cd".encode())]),
    # a byte order mark at the start, and only there
    (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    # a type does not outlive its event, nor does an event the end of the stream
    (b"event: ping\n\ndata: a\n\n", [Event(b"a")]),
    (b"data: a\n", []),
])
def test_exact_cases(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events


@given(streams, st.lists(st.integers(min_value=0), max_size=6))
@example(b"data: a\r\n\r\n", [8, 8, 10])
@example(b"data: a\r\n\r\n", [9, 9, 9])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
def test_any_cut_gives_what_the_format_says(stream: bytes, places: list[int]) -> None:
    assert parse(*cut(stream, places)) == as_the_format_says(stream)


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=4))
def test_any_bytes_are_survived(stream: bytes, places: list[int]) -> None:
    assert parse(*cut(stream, places)) == parse(stream)


def outcome(chunks: list[bytes], limit: int) -> tuple[list[Event], bool]:
    parser, events = SseParser(limit), list[Event]()
    try:
        for chunk in chunks:
            events += parser.feed(chunk)
    except TooLarge as error:
        return [*events, *error.events], True
    return events, False


@given(streams, st.lists(st.integers(min_value=0), max_size=6), st.integers(min_value=0, max_value=20))
def test_the_limit_does_not_depend_on_the_cut(stream: bytes, places: list[int], limit: int) -> None:
    assert outcome(cut(stream, places), limit) == outcome([stream], limit)


def test_too_large_keeps_what_was_complete_and_ends_the_stream() -> None:
    parser = SseParser(10)
    with pytest.raises(TooLarge, match="larger than 10 bytes") as caught:
        parser.feed(b"data: ok\n\ndata: 12345")
    assert caught.value.events == [Event(b"ok")]
    for more in (b"", b"\n\n", b"data: a\n\n"):
        with pytest.raises(TooLarge):
            parser.feed(more)


def test_the_limit_is_for_one_event_and_exact() -> None:
    assert parse(b"data: 1234\n\n" * 100, limit=10) == [Event(b"1234")] * 100
    assert parse(b"data:\n" * 2 + b"\n", limit=10) == [Event(b"\n")]
    for stream in (b"data: 12345\n\n", b"data:\n" * 3, b"id: 123\nid: 12345\n", b": a long comment\n", b"data: a\n: ab\n", b"x" * 11):
        with pytest.raises(TooLarge):
            parse(stream, limit=10)


def test_comments_come_with_the_blank_line_that_ends_them() -> None:
    said = [Event(b"", comment=b"keep-alive")]
    assert parse(KEEP_ALIVE) == said
    assert parse(b":\n\n: a\n:b\r\n\r\n") == [Event(b"", comment=b""), Event(b"", comment=b"a\nb")]
    assert parse(b"data: a\n: in between\ndata: b\n\n") == [Event(b"", comment=b"in between"), Event(b"a\nb")]
    assert parse(encode_comment(b"a\nb") + encode_comment(b"")) == [Event(b"", comment=b"a\nb"), Event(b"", comment=b"")]


def test_comments_without_a_blank_line_do_not_add_up() -> None:
    parser = SseParser(20)
    assert parser.feed(b": keep-alive\n" * 1000) == []
    comment, event = parser.feed(b"data: a\n\n")
    assert (comment.comment, event) == ((b"keep-alive\n" * 1000)[:1000], Event(b"a"))


@pytest.mark.parametrize("line", [b"data: " + b"x" * 6, b"data: y\n", b": c\n", b"\r\n"])
def test_byte_by_byte_is_linear(line: bytes) -> None:
    def seconds(size: int) -> float:
        parser, stream = SseParser(1 << 30), line * (size // len(line))
        start = time.process_time()
        for i in range(len(stream)):
            parser.feed(stream[i : i + 1])
        return time.process_time() - start

    seconds(1 << 14)
    assert seconds(1 << 19) < 12 * seconds(1 << 16) + 0.1  # 8 when linear, 64 when quadratic


@pytest.mark.parametrize(("arguments", "stream"), [
    ((b"{}",), b"event: message\ndata: {}\n\n"),
    ((b"{}", b"7", 500), b"event: message\nid: 7\nretry: 500\ndata: {}\n\n"),
    ((b"/messages?session=1", None, None, b"endpoint"), b"event: endpoint\ndata: /messages?session=1\n\n"),
    ((b"{}", None, None, b""), b"event: message\ndata: {}\n\n"),
    ((b"", b"7"), b"id: 7\ndata: \n\n"),
    ((b"", b"7", 500), b"id: 7\nretry: 500\ndata: \n\n"),
    ((b"", None, 500), b"retry: 500\n\n"),
    ((b"", None, None, b"ping"), b"event: ping\ndata: \n\n"),
    ((b"", None, 1, b"ping"), b"event: ping\nretry: 1\ndata: \n\n"),
    ((b"",), b"data: \n\n"),
    ((b"{\r\n}\r\n",), b"event: message\ndata: {\ndata: }\ndata: \n\n"),
    ((b"{}", b"1\r\n2\0\n"), b"event: message\nid: 12\ndata: {}\n\n"),
    ((b"{}", None, None, b"a\nb\r"), b"event: ab\ndata: {}\n\n"),
])
def test_encode(arguments: tuple[bytes, bytes | None, int | None, bytes], stream: bytes) -> None:
    assert encode_event(*arguments) == stream


@given(
    st.binary(max_size=40) | st.text("{}\r\n: data", max_size=20).map(str.encode),
    st.none() | st.binary(max_size=10), st.none() | st.integers(0, 10**12), st.sampled_from([b"message", b"", b"ping", b"a\nb", b"\n"]),
)
def test_what_is_encoded_is_read_again(data: bytes, id: bytes | None, retry: int | None, event: bytes) -> None:
    """One event, whatever its parts hold: nothing in them can end it early or begin another."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    kind = event.replace(b"\n", b"")
    expected = Event(lines, None if id is None else id.translate(None, b"\r\n\0"), b"" if kind == b"message" else kind, retry)
    assert parse(encode_event(data, id, retry, event)) == [expected]


@given(streams)
def test_what_was_read_passes_on_unharmed(stream: bytes) -> None:
    events = parse(stream)
    assert parse(b"".join(encode_event(event.data, event.id, event.retry, event.event) if event.comment is None else encode_comment(event.comment) for event in events)) == events
