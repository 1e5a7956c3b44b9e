"""Server-sent events as pure code.

In: the bytes of an event stream, cut anywhere. Out: `Event`s whose data are bytes; and the way back, `encode_event`.

Written to the WHATWG event stream format (html.spec.whatwg.org, 9.2.5 and 9.2.6), with one difference that resumption needs
(MCP 2025-11-25, basic/transports.mdx, "Sending Messages to the Server"): an event that carries only an id or a retry time is delivered
too. Only `\\r\\n`, `\\r` and `\\n` end a line; U+2028 and its kin are data. Every byte is looked at a fixed number of times, however
the stream is cut: complete lines are used at once, and the rest of the last one grows in a buffer that is never searched again.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

#: A comment: keeps a silent stream open (2026-07-28, basic/transports/streamable-http.mdx, "Receiving Messages").
KEEP_ALIVE: Final = b": keep-alive\n\n"

_BOM: Final = b"\xef\xbb\xbf"
_COMMENT: Final = 1000  # bytes; more than that of one block's comments is dropped, so that they never add up
_MAX_RETRY_DIGITS: Final = 15  # milliseconds for 30 000 years; int() of a longer text would only cost time


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event.

    `data` is its data lines joined by newlines (b"" if it has none), `id` its id (None if it names none; b"" forgets the last one),
    `event` its type, b"" for a message, said or unsaid, and `retry` the reconnection time in milliseconds that it sets.
    With a `comment` (its lines joined by newlines) it is that and nothing else: no event, but sent on, because it keeps connections open.
    """

    data: bytes
    id: bytes | None = None
    event: bytes = b""
    retry: int | None = None
    comment: bytes | None = None


class TooLarge(ValueError):
    """One event is larger than the limit. `events` are those that were complete before it; the stream is lost."""

    def __init__(self, limit: int, events: Sequence[Event] = ()) -> None:
        super().__init__(f"an event is larger than {limit} bytes")
        self.events = events


class SseParser:
    """Bytes in, events out; the same events for any cut of the bytes.

    `limit` bounds what the parser keeps: the bytes of one event's lines without their ends, and of the line under way, which may be
    a comment. Comments are given when a blank line follows them, before the event among whose lines they stand.
    """

    __slots__ = ("_after_cr", "_comment", "_data", "_event", "_failed", "_id", "_limit", "_partial", "_retry", "_size", "_start")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = False
        self._start: bytes | None = b""  # the stream's first bytes while they may be a byte order mark; None once that is known
        self._after_cr = False           # the last line ended in "\r": a "\n" that follows belongs to it
        self._partial = bytearray()      # the last line so far
        self._size = 0                   # of the event's lines so far
        self._comment: bytes | None = None
        self._data: bytes | bytearray | None = None
        self._id: bytes | None = None
        self._event = b""
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; give the events that they complete.

        Raises `TooLarge`, then and ever after. An event that the end of the stream cuts short is none, as the format says.
        """
        if self._failed:
            raise TooLarge(self._limit)
        if self._start is not None:
            data = self._after_bom(self._start + data)
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._partial:
            self._partial += lines[0]
            lines[0] = bytes(self._partial)
            self._partial = bytearray()
        events: list[Event] = []
        for line in lines:
            if not line:
                if self._size or self._comment is not None:
                    self._end(events)
                continue
            self._size += len(line)
            if self._size > self._limit:
                self._fail(events)
            self._field(line)
        if rest:
            self._partial += rest
        if self._size + len(self._partial) > self._limit:
            self._fail(events)
        return events

    def _after_bom(self, data: bytes) -> bytes:
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)

    def _with_line_feeds(self, data: bytes) -> bytes:
        """Make every line end a "\\n". A "\\r" at the end of the bytes counts at once, whatever comes next."""
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data: "):  # nearly every line is this one or the next
            self._add(line[6:])
            return
        if line == b"event: message":
            self._event = b""
            return
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"event":
            self._event = b"" if value == b"message" else value
        elif name == b"data":
            self._add(value)
        elif name == b"id":
            if b"\0" not in value:
                self._id = value
        elif name == b"retry":
            if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self._retry = int(value)
        elif not name:
            self._size -= len(line)  # a stream of comments with no event between must not add up
            self._comment = (value if self._comment is None else self._comment + b"\n" + value)[:_COMMENT]

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
            return
        if type(self._data) is bytes:  # the second line; few events have one
            self._data = bytearray(self._data)
        self._data += b"\n" + value

    def _end(self, events: list[Event]) -> None:
        """A blank line: the event is complete, if there is one."""
        if self._comment is not None:
            events.append(Event(b"", comment=self._comment))
            self._comment = None
        data = self._data
        if data is not None or self._id is not None or self._retry is not None:
            events.append(Event(bytes(data) if data else b"", self._id, self._event, self._retry))
            self._data = self._id = self._retry = None
        self._event = b""
        self._size = 0

    def _fail(self, events: list[Event]) -> NoReturn:
        self._failed = True
        self._partial, self._data = bytearray(), None
        raise TooLarge(self._limit, events)


def encode_event(data: bytes, id: bytes | None = None, retry: int | None = None, event: bytes = b"message") -> bytes:
    """One event in bytes.

    Newlines in `data` make it several data lines; line ends and NUL are left out of `id`, line ends out of `event`; `retry` is not
    negative. b"" as `event` says message. An event without data goes without a type, as the SDKs send it to prime the client, and
    with no data line at all when it only carries `retry`: clients would take an empty one for a broken message.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    typed = event not in (b"message", b"")
    head = b"event: message\n" if data else b""
    if typed:
        head = b"event: " + event.translate(None, b"\r\n") + b"\n"
    if id is not None:
        head += b"id: " + id.translate(None, b"\r\n\0") + b"\n"
    if retry is not None:
        head += b"retry: %d\n" % retry
        if id is None and not data and not typed:
            return head + b"\n"
    return head + b"data: " + data + b"\n\n"


def encode_comment(text: bytes) -> bytes:
    """A comment in bytes, a line for each of its lines."""
    return b"".join([b": " + line + b"\n" for line in text.replace(b"\r", b"\n").split(b"\n")]) + b"\n"
