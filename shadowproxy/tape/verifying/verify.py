"""Verify: play the client's side of a tape against a live upstream, and say of each exchange whether it went as recorded.

In: the frames of a tape, one after the other, and an `Upstream`. Out: `Finding`s, told as they are made, and a `Tally`. What the client sent is sent in
the order of the tape, and not before all that the server had said until then has been said again: its responses (or their deadline), and as many
messages as were recorded (or `patience`). Requests that overlapped overlap again. Answers to the server's requests go when those come.
`run` owns a task per exchange and per stream, and the sessions; when it returns there is nothing left of them. Nothing holds more of the tape than what is
under way. The client is one on stdio, to the upstream: header fields, reconnection and the session's id are its affair.

Frames of the leg "client" are passed over: where something rewrites, the server's side of it is what the server knows.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import attrs
import trio

from shadowproxy.exchange import Session, Upstream
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import VOLATILE, Ignoring
from shadowproxy.tape.verifying.crossing import Arrived, Crossing, Expected
from shadowproxy.tape.verifying.findings import Findings
from shadowproxy.tape.verifying.handles import Handles
from shadowproxy.tape.verifying.playing import Play, Table, play
from shadowproxy.tape.verifying.talk import Talk
from shadowproxy.tape.verifying.verdicts import Answer, Finding, Tally, label_of
from shadowproxy.wire.eras import META_VERSION, Era, era_of
from shadowproxy.wire.jsonrpc import METHOD_NOT_FOUND, BadMessage, Message, Raw, error_reply

_CANCELLED = "notifications/cancelled"


@attrs.frozen
class Patience:
    """Seconds. `answer`: from a request, or the last message of its stream, to its response. `message`: that the next message of the client waits for the
    server's messages recorded before it, and that an unexpected request of the server waits for its place in the tape."""

    answer: float = 60.0
    message: float = 5.0


class Verifier:
    """`tell` is called with each finding, MATCH included, as soon as it is certain."""

    def __init__(self, upstream: Upstream, tell: Callable[[Finding], None], ignoring: Ignoring = VOLATILE, patience: Patience = Patience()) -> None:
        self._upstream, self._ignoring, self._patience = upstream, ignoring, patience
        self._findings = Findings(tell, ignoring)
        self._handles = Handles()
        self._sessions: dict[str | None, Talk] = {}
        self._open: dict[int, tuple[Play, Talk]] = {}  # by the exchange's number; until it is judged
        self._table = Table()
        self._nursery: trio.Nursery | None = None
        self._bell = trio.Event()

    async def run(self, frames: Iterable[Frame]) -> Tally:
        """Play them to the end. Raises nothing for what the server does."""
        tally = self._findings.tally
        try:
            async with trio.open_nursery() as self._nursery:
                for frame in frames:
                    if frame.kind == "gap":
                        tally.lost += frame.lost or 0
                    elif frame.leg != "client":
                        await self._take(frame)
                await self._finish(tally)
                self._nursery.cancel_scope.cancel(reason="the tape is played")
        finally:
            for talk in self._sessions.values():
                talk.close()
        return tally

    # ------------------------------------------------ the tape, in its order
    async def _take(self, frame: Frame) -> None:
        try:
            if frame.dir == "s2c":
                self._expect(frame)
            elif frame.kind == "response":
                self._answer_when_asked(frame)
            elif frame.kind in ("request", "notification", "open", "cancelled", "end"):
                await self._caught_up()
                await self._say(frame)
        except BadMessage as error:
            self._findings.not_played(frame, str(error))

    async def _say(self, frame: Frame) -> None:
        """What the client did."""
        if frame.kind == "request":
            await self._begin(frame)
        elif frame.kind == "notification":
            await self._notify(frame)
        elif frame.kind == "open":
            await self._listen(frame)
        elif frame.kind == "cancelled":
            if (found := self._of(frame)) is not None:
                await self._heard_out(found[0])
                self._give_up(*found)
        elif frame.session in self._sessions:
            await self._sessions.pop(frame.session).end()

    def _expect(self, frame: Frame) -> None:
        """What the server did."""
        found = self._of(frame)
        if frame.kind in ("response", "refusal") or (frame.kind == "close" and (frame.stream or "")[:1] == "x"):
            if found is not None:
                taken, talk = found
                taken.recorded = Answer.of_frame(frame)
                talk.crossing.pair_changed(taken.number)
                self._judge(taken, talk)
            return
        talk_or_none = self._sessions.get(frame.session) if found is None else found[1]
        if frame.kind in ("request", "notification") and frame.message is not None and talk_or_none is not None and not self._ignoring.whole(frame.method):
            message = Message.decode(bytes(frame.message))
            if message.is_request:
                self._table.asked(frame)
            if found is not None:
                found[0].told += 1
            talk_or_none.crossing.expect(Expected(message, frame.n, frame.exchange))

    def _of(self, frame: Frame) -> tuple[Play, Talk] | None:
        """The exchange that it belongs to, if that is under way."""
        return self._open.get(frame.exchange if frame.exchange is not None else -(frame.re or 0))

    async def _caught_up(self) -> None:
        """Until all that the server had said by now has been said again, or has had its time."""
        await trio.lowlevel.checkpoint()
        while any(taken.recorded is not None for taken, _ in self._open.values()):
            await self._rung()
        talks = [*self._sessions.values(), *(talk for _, talk in self._open.values())]
        with trio.move_on_after(self._patience.message) as patience:  # noqa: ASYNC912 - waits only if something has not come yet
            while any(talk.crossing.behind() for talk in talks):
                await self._rung()
        if patience.cancelled_caught:
            for talk in talks:
                talk.crossing.waive()

    async def _rung(self) -> None:
        self._bell = trio.Event()
        await self._bell.wait()

    async def _finish(self, tally: Tally) -> None:
        """The tape is over: what is answered in it may be answered; the rest is left as it was."""
        await self._caught_up()
        for taken, talk in list(self._open.values()):
            tally.unjudged += 1
            taken.cancel()
            talk.crossing.settle(lambda one, number=taken.number: one.exchange == number)  # type: ignore[misc]  # bound early on purpose
        for talk in list(self._sessions.values()):
            await talk.end()

    # ------------------------------------------------ the client's side, live
    async def _begin(self, frame: Frame) -> None:
        message = Message.decode(bytes(frame.message or b""))
        number = -frame.n if frame.exchange is None else frame.exchange
        talk = self._talk(frame, message)
        self._handles.exchange(message)
        taken = Play(number, frame, message, label_of(message), self._table.live_id(frame.session, message))
        self._open[number] = taken, talk
        patience = float("inf") if message.method == "subscriptions/listen" else self._patience.answer
        self._soon(partial(play, taken, self._upstream, talk.exchange(message), patience, partial(self._arrived, talk, number), partial(self._judge, taken, talk)))
        await trio.lowlevel.checkpoint()  # it gets as far as it can, so that the order of requests is kept

    def _talk(self, frame: Frame, message: Message | None = None) -> Talk:
        """That of its session; a new one of the message's own in the modern era."""
        modern = message is not None and _era_of(frame, message) == "modern"
        talk = None if modern else self._sessions.get(frame.session)
        if talk is None:
            talk = Talk(self._upstream, None if modern else Session(b"verify"), Crossing(self._ignoring, partial(self._paired, frame.session)))
            if not modern:
                self._sessions[frame.session] = talk
        return talk

    async def _notify(self, frame: Frame) -> None:
        message = Message.decode(bytes(frame.message or b""))
        talk = self._talk(frame, message)
        self._handles.exchange(message)
        if message.method != _CANCELLED:
            return await self._send(talk, message, frame)
        params = message.params()
        live = self._table.live(frame.session, params.get("requestId"))
        for taken, theirs in [found for found in self._open.values() if live is not None and found[0].id == live]:
            params["requestId"] = Raw(live or b"")
            await self._heard_out(taken)
            if taken.live is None:
                await self._send(talk, message, frame)  # first: nothing obliges a server that was told to answer it still
            self._give_up(taken, theirs)

    async def _heard_out(self, taken: Play) -> None:
        """Before it is given up, all that was recorded on its stream comes, or has had its time: what came on another in the same words may belong there."""
        with trio.move_on_after(self._patience.message):  # noqa: ASYNC912 - waits only if something has not come yet
            while taken.live is None and taken.heard < taken.told:
                await self._rung()

    def _give_up(self, taken: Play, talk: Talk) -> None:
        """Here the recorded client did. An answer may have been faster this time."""
        taken.recorded = Answer(refusal="cancelled")
        taken.cancel()
        self._judge(taken, talk)

    async def _send(self, talk: Talk, message: Message, frame: Frame | None) -> None:
        if reason := await talk.say(message, self._patience.answer):
            self._findings.not_taken(frame, f"the server did not take it: {reason}")

    async def _listen(self, frame: Frame) -> None:
        talk, opened = self._talk(frame), trio.Event()
        self._soon(partial(talk.listen, partial(self._arrived, talk, frame.exchange), opened))
        with trio.move_on_after(self._patience.message):
            await opened.wait()

    # ------------------------------------------------ the server's side, live
    def _arrived(self, talk: Talk, number: int | None, message: Message) -> None:
        if self._ignoring.whole(message.method):
            return
        one = Arrived(message, number)
        talk.crossing.arrive(one)
        self._bell.set()
        if number in self._open:
            taken, _ = self._open[number]
            taken.heard += 1
            if taken.recorded is not None:
                talk.crossing.pair_changed(number)
        if message.is_request and one in talk.crossing.arrived:
            self._soon(partial(self._refuse_unless_expected, talk, one))

    async def _refuse_unless_expected(self, talk: Talk, one: Arrived) -> None:
        """A request of the server that has no place in the tape gets an error, so that it does not wait for ever."""
        await trio.sleep(self._patience.message)
        if one in talk.crossing.arrived and not talk.crossing.give_up(one):
            await self._send(talk, error_reply(one.message.id, METHOD_NOT_FOUND, "the recorded client was never asked this"), None)

    def _paired(self, session: str | None, expected: Expected | None, arrived: Arrived | None) -> None:
        """One of them may be None."""
        self._findings.paired(session, expected, arrived)
        if expected is not None and arrived is not None and arrived.message.is_request:
            self._reply(session, self._table.came(expected.n, arrived.message))

    def _answer_when_asked(self, frame: Frame) -> None:
        """The client's answer to a request of the server's: now if that has come, else when it comes."""
        self._reply(frame.session, self._table.answers(frame))

    def _reply(self, session: str | None, answer: Message | None) -> None:
        talk = self._sessions.get(session)
        if talk is not None and answer is not None:
            self._soon(partial(self._send, talk, answer, None))

    # ------------------------------------------------
    def _judge(self, taken: Play, talk: Talk) -> None:
        """As soon as both answers are known."""
        self._bell.set()
        if taken.recorded is None or taken.live is None or self._open.pop(taken.number, None) is None:
            return
        self._handles.learn(taken.recorded.value, taken.live.value)
        self._findings.answered(taken)
        if talk.session is None:
            talk.crossing.settle()
        else:  # of a legacy session, only progress is certain to belong to this exchange
            talk.crossing.settle(lambda one: one.exchange == taken.number and one.message.method == "notifications/progress")

    def _soon(self, task: Callable[[], object]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)  # type: ignore[arg-type]  # a partial of an async function


def _era_of(frame: Frame, message: Message) -> Era:
    headers = () if frame.http is None else frame.http.headers
    header = next((value.encode() for name, value in headers if name == "mcp-protocol-version"), None)
    return era_of(message.params() if message.mentions(META_VERSION.encode()) else None, header)
