"""A cassette of PyPI's mcp-cassette, format versions 1 to 3: one JSON document, so it is read whole, as that tool does.

What it does not tell: status and header fields; event ids and retry times; when it began (`recorded_at` is its end); whether a single answer to a
request came as JSON or as an event stream of one, which is taken for JSON. `raw` and `unclassified` messages have no place in a tape.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from shadowproxy.tape.exchanging.imports_foreign import Imported, decoded, unix_time
from shadowproxy.tape.exchanging.linking import Linker
from shadowproxy.tape.frame import Direction, Frame, Header, Http, Unreadable
from shadowproxy.wire.eras import is_legacy
from shadowproxy.wire.jsonrpc import BadMessage, Raw, encode

SUPPORTED = 3


class _Message(msgspec.Struct):
    t_offset_ms: float
    sender: Literal["client", "server"]
    kind: str
    payload: Raw
    redacted: bool = False
    exchange: int | None = None
    channel: Literal["post", "get"] | None = None


class _Cassette(msgspec.Struct):
    recorded_at: str
    messages: list[_Message]
    format_version: int = 1
    transport: Literal["stdio", "http"] = "stdio"
    server_url: str | None = None
    protocol_version: str | None = None
    server_info: dict[str, Any] | None = None


class PypiCassette(Imported):
    """PyPI's."""

    def begin(self) -> None:
        cassette: _Cassette = decoded(self._file.read(), _Cassette, "a cassette of PyPI's mcp-cassette")
        if cassette.format_version > SUPPORTED:
            raise Unreadable(f"a cassette of format version {cassette.format_version}; those up to {SUPPORTED} can be read")
        self._messages, self._http = cassette.messages, cassette.transport == "http"
        era: Literal["legacy", "modern"] = "legacy" if cassette.protocol_version is None or is_legacy(cassette.protocol_version) else "modern"
        self._session = "s1" if era == "legacy" else None
        end = self._messages[-1].t_offset_ms / 1000 if self._messages else 0.0
        origin = unix_time(cassette.recorded_at) - end
        self._linker = Linker(origin)
        self._exchanges: dict[int, int] = {}  # theirs -> ours
        self._answers = Counter(message.exchange for message in self._messages if message.sender == "server" and message.exchange is not None)
        info = cassette.server_info
        self.header = Header(tool="PyPI mcp-cassette", origin=origin, upstream=cassette.server_url or "", era=era, session=self._session,
                             server=None if info is None else Raw(encode(info)), redaction="mcp-cassette")  # fmt: skip

    def __iter__(self) -> Iterator[Frame]:
        for message in self._messages:
            if message.kind in ("raw", "unclassified"):
                self.left_out["messages that are no JSON-RPC"] += 1
                continue
            try:
                yield from self._frames(message, message.t_offset_ms / 1000)
            except BadMessage:
                self.left_out["messages that are no JSON-RPC"] += 1

    def _frames(self, message: _Message, t: float) -> Iterator[Frame]:
        dir: Direction = "c2s" if message.sender == "client" else "s2c"
        data = msgspec.json.format(bytes(message.payload), indent=-1)
        rest: dict[str, Any] = {"session": self._session, "redacted": ("mcp-cassette",) if message.redacted else ()}
        theirs = message.exchange
        if message.channel == "get" and theirs is not None:
            if theirs not in self._exchanges:
                number = self._exchanges[theirs] = self._linker.exchange()
                yield self._linker.frame(t, "c2s", "open", session=self._session, exchange=number, stream=f"g{number}", http=Http("GET"))
            rest["stream"] = f"g{self._exchanges[theirs]}"
        streamed = theirs is not None and self._answers[theirs] > 1
        exchange = None if theirs is None else self._exchanges.get(theirs)
        http = Http("POST") if self._http and dir == "c2s" else None
        frame = self._linker.message(t, dir, data, exchange=exchange, streamed=streamed, http=http, **rest)
        if dir == "c2s" and theirs is not None and frame.exchange is not None:
            self._exchanges[theirs] = frame.exchange
        yield frame
