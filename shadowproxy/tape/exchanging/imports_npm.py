"""A cassette of npm's mcp-cassette, versions 1 and 2: JSON Lines, a header, then `frame`, `raw` and `chunks` entries.

A `chunks` entry holds a whole event stream and stands where the stream ended, so entries are put into the order of time first: what is held of the
file is a few numbers for each message. What it does not tell: event ids, retry times and header fields; the session id. An HTTP status that it
leaves out is the usual one (200, 202 for notifications). `raw` entries, which are no JSON-RPC, have no place in a tape.
"""
from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from shadowproxy.tape.exchanging.imports_foreign import Imported, decoded, unix_time
from shadowproxy.tape.exchanging.linking import Linker, answer_http
from shadowproxy.tape.frame import Direction, Frame, Header, Http, MaybeRaw, Unreadable
from shadowproxy.wire.jsonrpc import BadMessage, Raw

SUPPORTED = (1, 2)
WHAT = "an entry of an mcp-cassette recording"
OPENING = -1
"""In place of a message's index: the moment that a GET stream was opened."""
_Place: TypeAlias = tuple[float, int, int]
"""When, where the line begins, which message of the line."""


class _Redaction(msgspec.Struct):
    applied: bool = False


class _Header(msgspec.Struct):
    cassetteVersion: int  # noqa: N815 -- the format's own name
    startedAt: str  # noqa: N815 -- the format's own name
    recorder: str = "mcp-cassette"
    transport: Literal["stdio", "http"] = "stdio"
    command: list[str] = []
    url: str = ""
    era: Literal["legacy", "modern"] | None = None
    redaction: _Redaction | None = None


class _Status(msgspec.Struct):
    status: int


class _Chunk(msgspec.Struct):
    t: float
    frame: Raw


class _Entry(msgspec.Struct):
    type: str
    t: float = 0.0
    dir: Direction = "c2s"
    frame: MaybeRaw = None
    http: _Status | None = None
    id: MaybeRaw = None
    via: Literal["post", "get"] = "post"
    chunks: list[_Chunk] = []


class NpmCassette(Imported):
    """npm's."""

    def begin(self) -> None:
        header: _Header = decoded(self._file.readline(), _Header, "the header of an mcp-cassette recording")
        if header.cassetteVersion not in SUPPORTED:
            raise Unreadable(f"a cassette of version {header.cassetteVersion}; those of versions 1 and 2 can be read")
        era = header.era or "legacy"
        origin = unix_time(header.startedAt)
        self._session = "s1" if era == "legacy" else None
        self._http = header.transport == "http"
        self._linker = Linker(origin)
        self._streams: dict[int, int] = {}  # by where its line begins, the exchange of a GET stream
        redaction = "mcp-cassette" if header.redaction is not None and header.redaction.applied else "none"
        self.header = Header(tool=f"npm {header.recorder}", origin=origin, upstream=header.url or shlex.join(header.command), era=era, session=self._session,
                             redaction=redaction)  # fmt: skip

    def __iter__(self) -> Iterator[Frame]:
        for t, offset, index in sorted(self._places()):
            self._file.seek(offset)
            entry: _Entry = decoded(self._file.readline(), _Entry, WHAT)
            try:
                yield from self._frames(entry, t / 1000, offset, index)
            except BadMessage:
                self.left_out["messages that are no JSON-RPC"] += 1

    def _places(self) -> Iterator[_Place]:
        offset = self._file.tell()
        while line := self._file.readline():
            if not line.endswith(b"\n") and not _complete(line):
                self.left_out["a torn last line"] += 1
                return
            if line.strip():
                entry: _Entry = decoded(line, _Entry, f"{WHAT}, at byte {offset}")
                yield from self._places_of(entry, offset)
            offset += len(line)

    def _places_of(self, entry: _Entry, offset: int) -> Iterator[_Place]:
        if entry.type == "frame" and entry.frame is not None:
            yield entry.t, offset, 0
        elif entry.type == "chunks":
            if entry.via == "get":
                yield entry.t, offset, OPENING
            for index, chunk in enumerate(entry.chunks):
                yield max(chunk.t, entry.t), offset, index
        else:
            self.left_out["lines that are no JSON-RPC" if entry.type == "raw" else f"entries of the unknown type {entry.type!r}"] += 1

    def _frames(self, entry: _Entry, t: float, offset: int, index: int) -> Iterator[Frame]:
        if entry.frame is not None:
            yield self._linker.message(t, entry.dir, bytes(entry.frame), session=self._session, http=self._envelope(entry))
            return
        if index == OPENING:
            yield self._open(t, offset)
            return
        data, first, last = bytes(entry.chunks[index].frame), index == 0, index == len(entry.chunks) - 1
        if entry.via == "post":
            http = answer_http(200, streamed=True) if first else None
            yield self._linker.message(t, "s2c", data, session=self._session, streamed=True, exchange=self._asked(entry), http=http)
            return
        number = self._streams[offset]
        http = answer_http(200, streamed=True) if first else None
        yield self._linker.message(t, "s2c", data, session=self._session, exchange=number, stream=f"g{number}", http=http)
        if last:
            del self._streams[offset]
            yield self._linker.frame(t, "s2c", "close", session=self._session, exchange=number, stream=f"g{number}")

    def _open(self, t: float, offset: int) -> Frame:
        number = self._streams[offset] = self._linker.exchange()
        http = Http("GET", None, (("accept", "text/event-stream"),))
        return self._linker.frame(t, "c2s", "open", session=self._session, exchange=number, stream=f"g{number}", http=http)

    def _asked(self, entry: _Entry) -> int | None:
        return None if entry.id is None else self._linker.exchange_of("", entry.id)

    def _envelope(self, entry: _Entry) -> Http | None:
        if not self._http:
            return None
        if entry.dir == "c2s":
            return Http("POST")
        return answer_http(200 if entry.http is None else entry.http.status, streamed=False)


def _complete(line: bytes) -> bool:
    """Whether a last line without its end is whole all the same: files edited by hand."""
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
