"""A session log of mcpsnoop: JSON Lines, one observed event a line (its `Envelope`), as of version 0.16.

What becomes of them: a JSON-RPC message is a message; an HTTP error without one is a refusal; a frame that was cut at mcpsnoop's size limit, and
numbers that are missing, are gaps. Lines of the server's standard error, and what was no JSON-RPC on its output, have no place in a tape.
Whether an answer came as JSON or as an event stream the log does not say; nor event ids, nor header fields but the routing ones.
"""
from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from shadowproxy.tape.exchanging.imports_foreign import Imported, decoded, unix_time
from shadowproxy.tape.exchanging.linking import Linker
from shadowproxy.tape.frame import Frame, Header, Http, MaybeRaw, Unreadable
from shadowproxy.wire.jsonrpc import BadMessage

WHAT = "a line of an mcpsnoop log"


class _Parameter(msgspec.Struct):
    name: str
    value: str


class _Envelope(msgspec.Struct):
    session_id: str
    ts: str
    direction: Literal["c2s", "s2c", "stderr", "meta"]
    seq: int = 0
    server_label: str = ""
    transport: str = ""
    raw: MaybeRaw = None
    text: str = ""
    mcp_method: str = ""
    mcp_name: str = ""
    mcp_protocol_version: str = ""
    mcp_param_headers: list[_Parameter] = []
    conn_id: str = ""
    truncated: bool = False
    redacted: bool = False
    status: int = 0
    auth_challenge: str = ""


class _Meta(msgspec.Struct):
    command: list[str] = []


class Log(Imported):
    """mcpsnoop's."""

    def begin(self) -> None:
        first: _Envelope = decoded(self._file.readline(), _Envelope, WHAT)
        self._file.seek(0)
        upstream = first.server_label
        if first.direction == "meta" and first.raw is not None:
            command = decoded(bytes(first.raw), _Meta, WHAT).command
            upstream = shlex.join(command) or upstream
        self._origin = unix_time(first.ts)
        self.header = Header(tool="mcpsnoop", origin=self._origin, upstream=upstream, redaction="mcpsnoop")
        self._linker = Linker(self._origin)
        self._seen: dict[str, int] = {}

    def __iter__(self) -> Iterator[Frame]:
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                self.left_out["a torn last line"] += 1
                return
            if line.strip():
                yield from self._frames(_envelope(line, number))

    def _frames(self, envelope: _Envelope) -> Iterator[Frame]:
        t = max(0.0, unix_time(envelope.ts) - self._origin)
        expected = self._seen.get(envelope.session_id, envelope.seq - 1) + 1
        if envelope.seq > expected:
            yield self._linker.frame(t, "s2c", "gap", lost=envelope.seq - expected, session=envelope.session_id, text="mcpsnoop did not keep up")
        self._seen[envelope.session_id] = max(envelope.seq, expected - 1)
        frame = self._frame(envelope, t)
        if frame is not None:
            yield frame

    def _frame(self, envelope: _Envelope, t: float) -> Frame | None:
        if envelope.direction in ("stderr", "meta"):
            if envelope.direction == "stderr":
                self.left_out["lines of the server's standard error"] += 1
            return None
        session, linker = envelope.session_id, self._linker
        dir: Literal["c2s", "s2c"] = "c2s" if envelope.direction == "c2s" else "s2c"
        if envelope.truncated:
            return linker.frame(t, dir, "gap", lost=1, session=session, text="a message that mcpsnoop cut at its size limit")
        rest: dict[str, Any] = {"session": session, "http": _http(envelope), "redacted": ("mcpsnoop",) if envelope.redacted else ()}
        if envelope.raw is not None:
            try:
                return linker.message(t, dir, bytes(envelope.raw), peer=f"{session} {envelope.conn_id}", **rest)
            except BadMessage:
                self.left_out["messages that are no JSON-RPC"] += 1
                return None
        if envelope.status >= 400:
            return linker.frame(t, dir, "refusal", text=envelope.text or None, **rest)
        self.left_out["lines that are no JSON-RPC" if envelope.text else "answers without a body"] += 1
        return None


def _envelope(line: bytes, number: int) -> _Envelope:
    try:
        found: _Envelope = decoded(line, _Envelope, WHAT)
    except Unreadable as error:
        raise Unreadable(f"line {number}: {error}") from None
    return found


def _http(envelope: _Envelope) -> Http | None:
    if envelope.transport != "http":
        return None
    if envelope.direction == "s2c":
        return Http(None, envelope.status or None, (("www-authenticate", envelope.auth_challenge),) if envelope.auth_challenge else ())
    fields = [("mcp-method", envelope.mcp_method), ("mcp-name", envelope.mcp_name), ("mcp-protocol-version", envelope.mcp_protocol_version)]
    fields += [(parameter.name.lower(), parameter.value) for parameter in envelope.mcp_param_headers]
    return Http("POST", None, tuple((name, value) for name, value in fields if value))
