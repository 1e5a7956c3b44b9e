"""Playing: one recorded request at a live upstream, and the ids under which recorded and live messages are the same.

In: a `Play`. Out: its live answer; what comes before that is handed on as it comes. `play` runs in a task of its caller's; the exchange is left with it.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from shadowproxy.errors import ProxyError
from shadowproxy.exchange import Exchange, Upstream
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.verifying.verdicts import Answer
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, key_of

KEPT = 1000
"""Ids, and requests of a server, that are remembered of those that nobody asked for again."""


class Play:
    """One exchange of the tape. `recorded` is its answer there, `live` the one now; `told` and `heard` how many messages were recorded before that, and have
    come; `given_up`: its client cancelled it, and the server knows."""

    def __init__(self, number: int, frame: Frame, message: Message, label: str, id: bytes) -> None:
        self.number, self.frame, self.message, self.label, self.id = number, frame, message, label, id
        self.recorded: Answer | None = None
        self.live: Answer | None = None
        self.told = self.heard = 0
        self.given_up = False
        self.seconds = 0.0
        self.scope = trio.CancelScope()

    def cancel(self) -> None:
        self.given_up = True
        self.scope.cancel(reason="the recorded client gave up here")


async def play(taken: Play, upstream: Upstream, exchange: Exchange, patience: float, arrived: Callable[[Message], None], done: Callable[[], None]) -> None:
    """Send it, and note what answers it. `patience` counts from the last message."""
    started = trio.current_time()
    taken.scope.deadline = started + patience
    try:
        with taken.scope, exchange:
            taken.live = await _answer(taken, upstream, exchange, patience, arrived)
    except ProxyError as error:
        taken.live = Answer.of_error(error)
    except BadMessage as error:
        taken.live = Answer(refusal="bad_message", text=str(error), lost=True)
    if taken.live is None:
        taken.live = Answer(refusal="cancelled") if taken.given_up else Answer(refusal="timeout", text=f"no answer within {patience:g} s", lost=True)
    taken.seconds = trio.current_time() - started
    done()


async def _answer(taken: Play, upstream: Upstream, exchange: Exchange, patience: float, arrived: Callable[[Message], None]) -> Answer:
    reply = await upstream.call(exchange)
    if isinstance(reply, Message):
        return Answer.of_message(reply)
    async for item in reply:
        taken.scope.deadline = trio.current_time() + patience
        if isinstance(item, Message):
            if item.is_response:
                return Answer.of_message(item)
            arrived(item)
    return Answer(refusal="close", text="the stream ended without an answer", lost=True)


class Table:
    """Recorded ids to live ones: of the client's requests, and of the server's with the answers they got. Bounded: the oldest are forgotten."""

    def __init__(self) -> None:
        self._next = 0
        self._live: dict[tuple[str | None, bytes], bytes] = {}
        self._asked: dict[tuple[str | None, bytes], int] = {}  # requests of the server: frame number by recorded id
        self._came: dict[int, Any] = {}  # their live ids, by frame number
        self._answers: dict[int, Message] = {}

    def live_id(self, session: str | None, message: Message) -> bytes:
        """Give the client's request an id of its own."""
        self._next += 1
        live = b"%d" % self._next
        _keep(self._live, (session, key_of(message.members["id"])), live)
        message.members["id"] = Raw(live)
        return live

    def live(self, session: str | None, recorded: Any) -> bytes | None:
        return self._live.get((session, key_of(recorded))) if isinstance(recorded, Raw) else None

    def asked(self, frame: Frame) -> None:
        """A request of the server's was recorded."""
        if frame.id is not None:
            _keep(self._asked, (frame.session, key_of(frame.id)), frame.n)

    def answers(self, frame: Frame) -> Message | None:
        """The client's answer to it was recorded: as it is to be sent now, if the request has come."""
        answer = Message.decode(bytes(frame.message or b""))
        n = frame.re if frame.re is not None or frame.id is None else self._asked.get((frame.session, key_of(frame.id)))
        if n is None:
            return None
        _keep(self._answers, n, answer)
        return self._ready(n)

    def came(self, n: int, request: Message) -> Message | None:
        """The request of frame `n` has come live: its answer, if that is known."""
        _keep(self._came, n, request.members["id"])
        return self._ready(n)

    def _ready(self, n: int) -> Message | None:
        if n not in self._came or n not in self._answers:
            return None
        answer, id = self._answers.pop(n), self._came.pop(n)
        answer.members["id"] = id
        return answer


def _keep(table: dict[Any, Any], key: Any, value: Any) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > KEPT:
        del table[next(iter(table))]
