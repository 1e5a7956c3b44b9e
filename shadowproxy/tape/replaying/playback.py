"""A recorded sequence, played to a live client: the `Replies` of one exchange, or of one GET stream.

In: the places of its frames. Out: messages and events, pulled one by one; each is read when it is due. Owns no task: whoever pulls waits here, for what
must have been seen first (an answer of the client; on a standing stream, whatever came before on the tape) and for its time. Its exchange holds it.
"""
from __future__ import annotations

from collections.abc import Callable

import trio

from shadowproxy.errors import RequestCancelled, UpstreamBroken
from shadowproxy.exchange import Exchange
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.replaying.course import Course, Standing
from shadowproxy.tape.replaying.index import STANDING
from shadowproxy.tape.replaying.live_stream import LiveStream
from shadowproxy.tape.replaying.pace import Pace
from shadowproxy.tape.replaying.replayed import Replayed
from shadowproxy.tape.replaying.translation import event_of, message_of, progress_token, refusal_of, with_question, with_subscription, with_token
from shadowproxy.wire.jsonrpc import BadMessage, Message, key_of
from shadowproxy.wire.sse import Event

Read = Callable[[int], Frame]
GAVE_UP = "request_cancelled"
"""What a recorder calls the end of an exchange whose client had cancelled it."""


class _Superseded(Exception):
    """Somebody else goes on from here."""


class Playback:
    """`place`: of the recorded request; none for GET stream `number`, which goes on where it was, and on which `live` is heard as well."""

    def __init__(self, read: Read, replayed: Replayed, pace: Pace, exchange: Exchange, place: int = 0, number: int | None = None,
                 live: LiveStream | None = None) -> None:  # fmt: skip
        self._live = live
        if live is not None:
            live.ring = self.ring
        self._read, self._replayed, self._columns, self._pace, self.exchange, self.number = read, replayed, replayed.columns, pace, exchange, number
        self.course = Course(self._columns, place) if number is None else replayed.course(number)
        self._request = self._start(self.course)
        if self._request.method == STANDING and number is None:
            self.course = replayed.stand(place)
        self.key = b"" if exchange.id is None else key_of(exchange.id)
        self._tokens = {} if number is not None or self._request.token is None else {bytes(self._request.token): progress_token(exchange)}
        self._asked: set[int] = set()  # places of its own questions
        self._answered: set[int] = set()
        self._event_id: str | None = None
        self._cancelled = self._pulled = self.over = False
        self._bell = trio.Event()
        replayed.joined(self, self._tokens)
        exchange.on_leave(self._leave)

    def _start(self, course: Course) -> Frame:
        """What follows comes next, timed from now. Gives the frame that it follows."""
        self.course = course
        frame = self._read(course.place)
        self._t, self._then = frame.t, trio.current_time()
        return frame

    def first(self) -> Frame | None:
        """What follows."""
        place = self._columns.after[self.course.place]
        return self._read(place) if place else None

    # ------------------------------------------------ pulled by the client's side
    def __aiter__(self) -> Playback:
        return self

    async def __anext__(self) -> Message | Event:
        while not self.over:
            try:
                item = await self._next()
            except _Superseded:
                break
            if item is not None:
                return item
        raise StopAsyncIteration

    async def _next(self) -> Message | Event | None:
        self._pulled = True
        try:
            while not (place := self.course.next()):
                if (heard := self._heard()) is not None:
                    return heard
                await self._stay()
            frame = self._read(place)
            if (question := self._unheard(frame, place)) is not None:
                return question
            if (heard := await self._turn(frame, place)) is not None:
                return heard
        finally:
            self._pulled = False
        self._t = frame.t
        self.course.played(place)
        self._replayed.mark(place)
        if self._stands:
            self._replayed.ring()  # who had to let it go first
        return self._step(frame, place)

    @property
    def _stands(self) -> bool:
        return isinstance(self.course, Standing)

    async def _stay(self) -> None:
        """Nothing more is on the tape, or its turn has not come. A standing stream stays open until its client leaves."""
        if not self._stands:
            raise UpstreamBroken(f"the tape ends before the answer to this request (frame {self._request.n}), so there is none to give")
        if self.number is not None and (following := self._replayed.following(self.number)) is not None:
            self._go_on(following)
        else:
            await self._rung()

    def _go_on(self, number: int) -> None:
        self.number = number
        self._start(self._replayed.course(number))

    # ------------------------------------------------ when
    def _heard(self) -> Message | Event | None:
        """What the live server has said meanwhile."""
        return None if self._live is None else self._live.take()

    async def _turn(self, frame: Frame, place: int) -> Message | Event | None:
        """Until it is this frame's turn, or the live server has said something. Raises `RequestCancelled`."""
        if frame.kind == "cancelled" or frame.error == GAVE_UP:
            while True:
                await self._rung()
        since, then = await self._until_seen(frame, place)
        due = max(self._then, then + self._pace.gap(frame.t - since))
        while (early := trio.current_time() < due) or self._replayed.overtakes(self, place):
            with trio.move_on_at(due if early else float("inf")):
                await self._rung()
            if (heard := self._heard()) is not None:
                return heard
        self._then = due
        await trio.lowlevel.checkpoint()
        self._check()
        return None

    async def _until_seen(self, frame: Frame, place: int) -> tuple[float, float]:
        """Wait for the client's answer, if this is one. Gives from when on the frame's time counts: on the tape, and live."""
        cause, seen = self._columns.cause[place], self._replayed.seen
        if frame.dir == "c2s":  # the client's answer
            while (cause not in self._answered) if cause in self._asked else (place not in seen):
                await self._rung()
            return frame.t, seen.get(place, self._then)
        return (self._read(cause).t, seen[cause]) if cause else (self._t, self._then)

    def goes_before(self, place: int) -> bool:
        """Whether this is a standing stream whose next frame was earlier than that place, and is on its way: it waits for nothing but its task's turn."""
        return self._stands and self._pulled and 0 < self.course.next() < place and not self._pace.scale

    async def _rung(self) -> None:
        """Until something was seen. Raises `RequestCancelled`."""
        self._check()
        self._bell = trio.Event()
        await self._bell.wait()
        self._check()

    def _check(self) -> None:
        if self.over:
            raise _Superseded
        if self._cancelled:
            raise RequestCancelled("cancelled, as the client asked with notifications/cancelled")

    # ------------------------------------------------ what its session tells
    def ring(self) -> None:
        self._bell.set()

    def supersede(self) -> None:
        """A newer listener has come in its place."""
        self.over = True
        self._bell.set()

    def hang_up(self) -> None:
        """The session is over: what the server only ever closed is closed."""
        if self.number is not None or self._last().kind == "close":
            self.supersede()

    def cancel(self) -> None:
        """The client gives it up. A server that on the tape never answered, but closed the stream in the end, does so again."""
        self._cancelled = self._last().kind != "close"
        self._bell.set()

    def _last(self) -> Frame:
        """The end of this sequence."""
        place = self.course.place
        while after := self._columns.after[place]:
            place = after
        return self._read(place)

    def answered(self, question: int) -> None:
        self._answered.add(question)

    def _leave(self) -> None:
        """The exchange is over. What would still have come counts as seen, so that nobody waits for it."""
        if self.number is None:
            place = self._columns.after[self.course.place]
            while place:
                self._replayed.mark(place)
                place = self._columns.after[place]
        self._replayed.left(self, self._tokens)

    # ------------------------------------------------ what
    def _step(self, frame: Frame, place: int) -> Message | Event | None:
        if frame.dir == "c2s":
            return None
        if frame.sse is not None and frame.sse.id is not None:
            self._event_id = frame.sse.id
        if frame.kind == "event":
            return event_of(frame)
        if frame.kind == "close":
            self._closed()
            return None
        if frame.kind == "refusal":
            self.over = True
            raise refusal_of(frame)
        try:
            return self._message(frame, place)
        except BadMessage as error:
            raise UpstreamBroken(f"frame {frame.n} of the tape holds no message that can be sent: {error}") from None

    def _message(self, frame: Frame, place: int) -> Message | None:
        message = message_of(frame)
        if frame.kind == "request":
            return self._ask(message, frame, place)
        if frame.kind == "response":
            return self._response(message, frame)
        with_subscription(message, frame, self._request.id, self.exchange.id)
        if message.method == "notifications/cancelled":
            with_question(message, self._replayed.renamed)
        if message.method == "notifications/progress":
            return with_token(message, self._tokens if self.number is None else self._replayed.tokens)
        return message

    def _response(self, message: Message, frame: Frame) -> Message:
        if self.number is None:
            message.members["id"] = self.exchange.id
            with_subscription(message, frame, self._request.id, self.exchange.id)
            self.over = True
        else:  # of a request whose own stream was closed before
            live = self._replayed.resumable.pop(bytes(frame.id or b""), None)
            message.members["id"] = message.members.get("id") if live is None else live
        return message

    def _ask(self, message: Message, frame: Frame, place: int) -> Message | None:
        """A request of the server's."""
        replayed = self._replayed
        if self.number is not None and place in replayed.asked:
            return None  # it went on the stream of the exchange that it belongs to
        id = message.members["id"]
        message.members["id"] = replayed.ask(self, place, frame.id or id, id)
        self._asked.add(place)
        self._answered.discard(place)
        return message

    def _unheard(self, frame: Frame, place: int) -> Message | None:
        """The question whose answer this exchange waits for was on a GET stream, and this client has opened none: it goes here instead."""
        question = self._columns.cause[place]
        if frame.dir != "c2s" or frame.kind != "response" or question in self._replayed.asked or self._replayed.listened_to:
            return None
        asked = self._read(question)
        return self._ask(message_of(asked), asked, question)

    def _closed(self) -> None:
        """The server closed the stream before its response, and the client may resume. Who has no HTTP cannot: what resumed it follows here."""
        replayed = self._replayed
        if self.exchange.headers is not None:
            self.over = True
            if self.number is None and self._request.id is not None and self.exchange.id is not None:
                replayed.resumable[bytes(self._request.id)] = self.exchange.id
            return
        found = replayed.resumption(self._event_id) if self._event_id is not None else None
        if self.number is not None:
            if (number := replayed.stream(None) if found is None else found) not in (None, self.number):
                self._go_on(number)
        elif found is not None:
            self._start(replayed.course(found))
        else:
            raise UpstreamBroken("the stream of this answer was closed when it was recorded, and the tape has none that resumed it")
