"""Requests of a legacy server that its client has not answered yet; each gets one answer, if not the client's then an error of ours.

In: what the conversation routes, what its client answers, what is dropped or left unread. Out: which answers of the client may pass, and errors to
the server, so that it never waits for an answer that cannot come. Owned by a conversation, synchronous throughout; it ends with the session.

A question that was read together with the whole answer of its exchange stays open, because the client may well answer it later: stdio does not say
to which exchange it belonged. If that exchange was left midway, its questions go with it. Bounded: the oldest makes room for the newest.
"""
from __future__ import annotations

from typing import Final

from shadowproxy.upstream.peer import Peer
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.jsonrpc import INTERNAL_ERROR, BadMessage, Message, Raw, key_of

ASKED: Final = 1000
"""Requests of one server that may wait for its client's answer at once."""
UNREAD: Final = "the client does not read what it is asked: a newer message took the place of this request (limits.events, limits.buffer)"
SLOW: Final = "the client reads too slowly to be asked anything more (limits.events, limits.buffer)"
LEFT: Final = "the client's request during which this was asked has ended before its answer"
TOO_MANY: Final = f"{ASKED} newer requests of this server wait for the client's answer"


class Questions:
    def __init__(self, link: Peer) -> None:
        self._link = link
        self._open: dict[bytes, Slot | None] = {}  # oldest first; where each was put, None for the session's own stream

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: Message, slot: Slot | None) -> None:
        """It is on its way to the client."""
        try:
            key = key_of(request.members["id"])
        except BadMessage:
            return  # it goes its way; no answer can come back
        self._open.pop(key, None)
        if len(self._open) >= ASKED:
            self._refuse(next(iter(self._open)), TOO_MANY)
        self._open[key] = slot

    def answered(self, id: Raw) -> bool:
        """Whether this answer of the client was waited for; then it is no more. Raises `BadMessage`."""
        key = key_of(id)
        found = key in self._open
        self._open.pop(key, None)
        return found

    def withdrawn(self, note: Message) -> None:
        """The server's own `notifications/cancelled`: it waits no longer."""
        try:
            self._open.pop(key_of(note.params()["requestId"]), None)
        except (BadMessage, KeyError):
            pass  # the client may make of it what it can

    def lost(self, message: Message, reason: str) -> None:
        """If this is a question, the client will never see it."""
        if not message.is_request:
            return
        try:
            self._refuse(key_of(message.members["id"]), reason)
        except BadMessage:
            pass

    def abandoned(self, slot: Slot) -> None:
        """An exchange was left before its answer."""
        for key in [key for key, where in self._open.items() if where is slot]:
            self._refuse(key, LEFT)

    def _refuse(self, key: bytes, reason: str) -> None:
        if key in self._open:
            del self._open[key]
            self._link.refuse(Raw(key), INTERNAL_ERROR, reason)

    def clear(self) -> None:
        """The session has ended, and the server with it."""
        self._open.clear()
