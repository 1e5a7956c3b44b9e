"""Frames with what is known of their exchange by then: what `show`, `tail`, `stats` and filters look at. Pure code.

In: frames, in order. Out: a `Row` for each, at once, so that a tape that is being written can be followed. What waits for a response is remembered
for the last `OPEN` requests, exchanges for the last `EXCHANGES`; a response to a request that was forgotten knows its own frame only.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, TypeVar

import msgspec

from shadowproxy.tape.frame import Frame
from shadowproxy.wire.jsonrpc import Raw, decode_object, text_of

OPEN: Final = 100_000
EXCHANGES: Final = 10_000
SUBJECTS: Final = {
    "tools/call": ("tool", "name"), "prompts/get": ("prompt", "name"), "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"), "resources/unsubscribe": ("resource", "uri"),
}  # fmt: skip
Era = Literal["legacy", "modern"]
_K = TypeVar("_K")
_V = TypeVar("_V")


class Row(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One frame in its context. `method`: its own, or that of the request it answers. `tool`, `prompt`, `resource`: what its exchange is about.
    `duration`: seconds from the request to this, its response (or what came in place of one). `error`: what went wrong, for an answer that says so."""

    frame: Frame
    method: str | None = None
    tool: str | None = None
    duration: float | None = None
    error: str | None = None
    prompt: str | None = None
    resource: str | None = None
    era: Era | None = None


class _Subject(msgspec.Struct, frozen=True, gc=False):
    tool: str | None = None
    prompt: str | None = None
    resource: str | None = None


_NOTHING: Final = _Subject()


def rows(frames: Iterable[Frame], era: Era | None = None) -> Iterator[Row]:
    """`era` is what the tape's header says; frames of the kind "about" say it for their session."""
    context = _Context(era)
    return map(context.row, frames)


class _Context:
    def __init__(self, era: Era | None) -> None:
        self._era = era
        self._eras: dict[str | None, Era] = {}
        self._asked: dict[int, tuple[Frame, str | None]] = {}  # by number of the request
        self._first: dict[int, int] = {}  # the number of the request that an exchange began with
        self._subjects: dict[int, _Subject] = {}  # by exchange

    def row(self, frame: Frame) -> Row:
        if frame.kind == "about":
            self._learn_era(frame)
        elif frame.kind in ("request", "open"):
            self._begin(frame)
        began, method = self._answered(frame)
        subject = _NOTHING if frame.exchange is None else self._subjects.get(frame.exchange, _NOTHING)
        return Row(frame, frame.method or method, subject.tool, None if began is None else round(frame.t - began, 6), error_of(frame), subject.prompt, subject.resource,
                   self._eras.get(frame.session, self._era))  # fmt: skip

    def _begin(self, frame: Frame) -> None:
        _keep(self._asked, frame.n, (frame, frame.method), OPEN)
        if frame.dir == "c2s" and frame.exchange is not None:
            _keep(self._first, frame.exchange, frame.n, EXCHANGES)
            subject = _subject(frame)
            if subject is not _NOTHING:
                _keep(self._subjects, frame.exchange, subject, EXCHANGES)

    def _answered(self, frame: Frame) -> tuple[float | None, str | None]:
        """When what this answers was asked, and by which method."""
        if frame.kind == "response":
            number = frame.re
        elif frame.kind in ("refusal", "cancelled", "close") and frame.exchange is not None:
            number = self._first.get(frame.exchange)
        else:
            return None, None
        asked = None if number is None else self._asked.pop(number, None)
        return (None, None) if asked is None else (asked[0].t, asked[1])

    def _learn_era(self, frame: Frame) -> None:
        value = frame.value()
        era = value.get("era") if isinstance(value, dict) else None
        if era in ("legacy", "modern"):
            _keep(self._eras, frame.session, era, EXCHANGES)


def _keep(table: dict[_K, _V], key: _K, value: _V, bound: int) -> None:
    """Remember it; past the bound the oldest is forgotten."""
    table[key] = value
    if len(table) > bound:
        del table[next(iter(table))]


def _subject(frame: Frame) -> _Subject:
    kind, member = SUBJECTS.get(frame.method or "", (None, ""))
    text = None if kind is None else text_of(_level(frame.members(), "params").get(member))
    return _NOTHING if kind is None or text is None else _Subject(**{kind: text})


def _level(members: dict[str, Any], name: str) -> dict[str, Raw]:
    try:
        return decode_object(members.get(name, b"{}"))
    except (msgspec.MsgspecError, RecursionError):
        return {}


def error_of(frame: Frame) -> str | None:
    """What went wrong, in a few words, if this frame is an answer that says so: a JSON-RPC error, a tool's `isError`, a refusal."""
    if frame.kind == "refusal":
        return frame.error or _rpc_error(frame) or frame.text or (f"HTTP {frame.http.status}" if frame.http and frame.http.status else "refused")
    if frame.kind != "response" or frame.message is None:
        return None
    data = bytes(frame.message)
    if b'"error"' in data or b"\\u00" in data:
        said = _rpc_error(frame)
        if said is not None:
            return said
    if b"isError" in data and bytes(_level(frame.members(), "result").get("isError", b"")) == b"true":
        return "the tool failed"
    return None


def _rpc_error(frame: Frame) -> str | None:
    members = frame.members()
    if "error" not in members:
        return None
    error = _level(members, "error")
    return text_of(error.get("message")) or "an error without a message"
