"""The HTTP envelopes of messages, as they stand on tape: the same for the same fields, which clients send with every request. Pure code.

In: a method or a status, and header fields as they came. Out: the envelope without secrets, and the rules that replaced some. Remembered, and bounded.
"""
from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from shadowproxy.exchange import Headers
from shadowproxy.tape.frame import Frame, Http
from shadowproxy.tape.recording.track import FIELDS, http_of

KNOWN = 256
"""Different envelopes that are remembered."""
Envelope: TypeAlias = "tuple[Http | None, tuple[str, ...]]"
NO_ENVELOPE: Final[Envelope] = None, ()


class Redacts(Protocol):
    def needs_look(self, data: bytes) -> bool: ...
    def frame(self, frame: Frame) -> Frame: ...


class _Kept(dict[bytes, bool]):
    """Whether a field of this name is kept; asked for every field of every message, so it is remembered."""

    def __missing__(self, name: bytes) -> bool:
        if len(self) >= KNOWN:
            self.clear()
        self[name] = kept = name in FIELDS or name.startswith(b"mcp-param-")
        return kept


_KEPT: Final = _Kept()


class Envelopes:
    def __init__(self, redactor: Redacts | None) -> None:
        self._redactor = redactor
        self._known: dict[tuple[str | None, int | None, Headers], Envelope] = {}

    def of(self, verb: str | None, status: int | None, headers: Headers) -> Envelope:
        """Raises whatever a user's own rule of redaction raises."""
        kept = tuple([field for field in headers if _KEPT[field[0]]])
        key = verb, status, kept
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= KNOWN:
            self._known.clear()
        found = self._known[key] = self._redacted(http_of(verb, status, kept))
        return found

    def _redacted(self, http: Http | None) -> Envelope:
        if self._redactor is None or http is None:
            return http, ()
        frame = self._redactor.frame(Frame(n=0, t=0.0, dir="c2s", kind="open", http=http))
        return frame.http, frame.redacted
