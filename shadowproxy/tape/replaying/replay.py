"""Replay: a tape that answers, an `Upstream` like any other.

In: exchanges of either era. Out: what the tape has for them; for one that it has nothing for, an error that shows the nearest, or the live server's
answer. Of the tape only where its frames are is kept (`Columns`); a frame is read again, from the disk, when it is due.
Owns no task: what waits, waits in the exchange that pulls. `replay_opening.py` opens and closes the file. docs/replay.md has the rules.
"""
from __future__ import annotations

import logging
from pathlib import Path

import attrs

from shadowproxy.config import Replay
from shadowproxy.errors import ProxyError, SessionMissing, SpecError, TapeMiss, UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Replies, Reply, Session
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.match import Matching, Wanted
from shadowproxy.tape.matching.nearest import Near, nearest
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.columns import Columns, RecordedSession
from shadowproxy.tape.replaying.live_server import LiveServer
from shadowproxy.tape.replaying.pace import Pace
from shadowproxy.tape.replaying.playback import Playback
from shadowproxy.tape.replaying.replayed import Replayed
from shadowproxy.tape.replaying.translation import fields_of, refusal_of
from shadowproxy.wire.eras import LEGACY_VERSIONS, META_VERSION, MODERN_VERSIONS, UNSUPPORTED_VERSION
from shadowproxy.wire.jsonrpc import BadMessage, Message, key_of, text_of

log = logging.getLogger("shadowproxy")
SHOWN = 10
"""Of what one session was never sent, at its end."""
KEPT = 1000
"""The same, of all that are over."""


@attrs.frozen
class Unused:
    """A recorded request that nobody has asked again: the number of its frame, its method, its session."""

    n: int
    method: str
    session: str | None


@attrs.frozen
class Held:
    """What the server said in frame `n` on a standing stream, which was listened to but not sent it, because frame `after` has not happened."""

    n: int
    method: str | None
    session: str | None
    after: int


class TapeUpstream:
    """The tape of `reading`, behind the seam. `live` stands behind it if `replay.on_miss` says so."""

    def __init__(self, reading: Reading, columns: Columns, replay: Replay, matching: Matching, live: LiveServer | None = None) -> None:
        self._reading, self._replay, self._matching, self._live = reading, replay, matching, live
        self._pace = Pace.of(replay.timing)
        self.columns = columns
        self._given = bytearray(self.columns.requests)
        self._sessions: dict[Session, Replayed] = {}
        self._shared: dict[bool, Replayed] = {}  # what has no session: modern, and legacy of servers that keep none
        self._held_back = 0  # how many groups were never sent in sessions that are over
        self._never_sent: list[Held] = []  # some of these
        self._begun: set[int] = set()  # recorded sessions that a live one was given
        self.misses = 0
        self._last: tuple[int, Frame] = (0, Frame(n=0, t=0.0, dir="c2s", kind="gap"))  # that was read, and its place
        if self.columns.gaps:
            log.warning("frames are missing on this tape; exchanges may be incomplete", extra={"tape": str(reading.path), "missing": self.columns.gaps})

    def statistics(self) -> dict[str, int]:
        held = self._held_back + sum(len(replayed.held()) for replayed in self._under_way())
        return {"tape_requests": self.columns.requests, "tape_unused": self._given.count(0), "tape_held": held, "tape_misses": self.misses}

    def unused(self) -> list[Unused]:
        """The recorded requests that were not asked again, in the order of the tape."""
        return [self._unused(session, request) for session in self.columns.sessions for request in session.requests if not self._given[request]]

    def _unused(self, session: RecordedSession, request: int) -> Unused:
        return Unused(self._frame(self.columns.place[request]).n, self.columns.method_of(request), session.name)

    def held(self) -> list[Held]:
        """The first frame of each group that waits, or waited until its session ended, for what has not happened."""
        return [*self._never_sent, *(self._held(place) for replayed in self._under_way() for place in replayed.held())]

    def _held(self, place: int) -> Held:
        frame = self._frame(place)
        return Held(frame.n, frame.method, frame.session, self._frame(self.columns.cause[place]).n)

    def _under_way(self) -> list[Replayed]:
        return [*self._sessions.values(), *self._shared.values()]

    # ------------------------------------------------ the seam
    async def call(self, exchange: Exchange) -> Reply:
        replayed, wanted = self._replayed(exchange), self._matching.live(exchange.request)
        request = replayed.find(wanted)
        if request is None and not replayed.recorded.modern and (shared := self._without_session()) not in (None, replayed):
            assert shared is not None
            request = (replayed := shared).find(wanted)
        if wanted.method == "initialize":
            self._greeted(exchange, replayed)
        if request is None:
            return await self._missed(exchange, replayed, wanted)
        return await self._play(exchange, replayed, self.columns.place[request])

    async def notify(self, exchange: Exchange) -> None:
        message, session = exchange.request, exchange.session
        replayed = self._sessions.get(session) if session is not None else self._shared.get(False)
        known, refused = False, 0
        if replayed is not None and message.is_response:
            known = message.id is not None and replayed.answer(key_of(message.id))
        elif replayed is not None and message.method == "notifications/cancelled":
            _cancel(replayed, message)
        if replayed is not None and message.method is not None:
            refused = replayed.note(message.method)
        if self._live is not None and not known:
            await self._live.notify(exchange)
        if refused:
            raise refusal_of(self._frame(refused))

    async def listen(self, exchange: Exchange) -> Replies:
        replayed = self._replayed(exchange)
        if not replayed.recorded.opens and (shared := self._without_session()) is not None:
            replayed = shared
        last = exchange.last_event_id
        number = replayed.stream(None if last is None else last.decode("utf-8", "replace"))
        live = None if self._live is None or exchange.session is None else self._live.listen(exchange, exchange.session)
        if number is None:
            if live is None:
                raise UpstreamAnswered(405, (), b"")  # what a server says that offers no such stream
            await live.admitted()
            return live
        playback = Playback(self._frame, replayed, self._pace, exchange, number=number, live=live)
        first = playback.first()
        if first is not None and first.kind == "refusal":
            raise refusal_of(first)
        exchange.reply_headers = () if first is None else fields_of(first)
        return playback

    async def end(self, exchange: Exchange) -> None:
        session = exchange.session
        if session is None or session not in self._sessions:
            raise SessionMissing("there is no such session to end")
        if self._live is not None:
            await self._live.end(session)
        replayed = self._sessions[session]
        if refused := self.columns.after[replayed.recorded.end]:
            raise refusal_of(self._frame(refused))
        replayed.hang_up()
        session.end()

    # ------------------------------------------------ an answer
    async def _play(self, exchange: Exchange, replayed: Replayed, place: int) -> Reply:
        playback = Playback(self._frame, replayed, self._pace, exchange, place)
        first = playback.first()
        if first is not None:
            exchange.status = (first.http.status if first.http is not None else None) or 200
            exchange.reply_headers = fields_of(first)
            if _begins_a_stream(first):
                return playback
            exchange.as_event = first.stream is not None
        async for item in playback:
            if isinstance(item, Message):
                return item
        raise UpstreamBroken("the tape has no answer to this request")

    async def _missed(self, exchange: Exchange, replayed: Replayed, wanted: Wanted) -> Reply:
        self.misses += 1
        if self._live is not None:
            return await self._live.call(exchange, replayed.recorded.name)
        recorded = ((self._frame(self.columns.place[one]).n, self._recorded(one)) for one in replayed.candidates(wanted.method))
        near = nearest(wanted, recorded, self._matching)
        if self._replay.on_miss == "warn":
            log.warning("a request is not on the tape", extra={"method": wanted.method, "nearest": None if near is None else near.n,
                                                               "differs_at": [] if near is None else [one.pointer for one in near.differences]})  # fmt: skip
        raise _miss(wanted, near, self._reading.path, self._replay)

    # ------------------------------------------------ sessions
    def _replayed(self, exchange: Exchange) -> Replayed:
        """Which recorded session this exchange is answered from. Raises `SpecError` if the tape knows only the other era."""
        session = exchange.session
        if exchange.era == "modern":
            recorded = self.columns.modern
            if recorded is None:
                raise _other_era(exchange, LEGACY_VERSIONS)
            return self._share(True, recorded)
        if not self.columns.legacy:
            raise _other_era(exchange, MODERN_VERSIONS)
        if session is None:
            shared = self._without_session()
            if shared is None:
                raise SessionMissing("this request needs a session: send initialize first and then its mcp-session-id with every request")
            return shared
        if session not in self._sessions:
            self._sessions[session] = self._new(self._choose(exchange))
            session.on_leave(self._ended, session)
        return self._sessions[session]

    def _ended(self, session: Session) -> None:
        places = self._sessions.pop(session).held()
        if not places:
            return
        held = [self._held(place) for place in places[:SHOWN]]
        log.info("messages of the server's own were never sent: what came before them on the tape has not happened",
                 extra={"session": held[0].session, "frames": [f"{one.n} (waited for {one.after})" for one in held], "count": len(places)})  # fmt: skip
        self._held_back += len(places)
        self._never_sent = [*self._never_sent, *held][:KEPT]

    def _choose(self, exchange: Exchange) -> RecordedSession:
        """The first unused session whose `initialize` is this one, else the first unused, else (more clients than there were) the same again."""
        legacy = [one for one in self.columns.legacy if one.greetings] or self.columns.legacy
        wanted = self._matching.live(exchange.request).digest if exchange.request.method == "initialize" else None
        fresh = [one for one in legacy if id(one) not in self._begun]
        for among in (fresh, [] if fresh else legacy):
            for one in among:
                if any(self.columns.digest[greeting] == wanted for greeting in one.greetings):
                    return one
        return (fresh or legacy)[0]

    def _new(self, recorded: RecordedSession) -> Replayed:
        self._begun.add(id(recorded))
        return Replayed(self.columns, recorded, self._replay, self._matching, self._given, self._recorded)

    def _share(self, modern: bool, recorded: RecordedSession) -> Replayed:
        if modern not in self._shared:
            self._shared[modern] = self._new(recorded)
        return self._shared[modern]

    def _without_session(self) -> Replayed | None:
        """What a server that keeps no sessions was asked, after the handshake."""
        recorded = next((one for one in self.columns.legacy if one.name is None), None)
        return None if recorded is None else self._share(False, recorded)

    def _greeted(self, exchange: Exchange, replayed: Replayed) -> None:
        if self._live is not None:
            self._live.greeted(exchange)
        if replayed.recorded.only_greets and exchange.session is not None and any(one.name is None and one.answered for one in self.columns.legacy):
            exchange.session.id = None  # as then: this server keeps no sessions

    # ------------------------------------------------ the tape
    def _frame(self, place: int) -> Frame:
        if self._last[0] != place:  # what is looked at before it is due is read once
            self._last = place, self._reading.at(self.columns.offset[place])
        return self._last[1]

    def _recorded(self, request: int) -> Wanted:
        return self._matching.recorded(self.columns.method_of(request), bytes(self._frame(self.columns.place[request]).message or b""))


def _begins_a_stream(first: Frame) -> bool:
    """Whether an answer that begins with this came in parts."""
    if first.kind == "refusal":
        return first.stream is not None
    return first.kind in ("request", "notification", "event", "close") or (first.dir == "c2s" and first.kind == "response")


def _cancel(replayed: Replayed, message: Message) -> None:
    try:
        replayed.cancel(key_of(message.params()["requestId"]))
    except (BadMessage, KeyError):
        pass  # it names no request


def _miss(wanted: Wanted, near: Near | None, path: Path, replay: Replay) -> ProxyError:
    if near is None:
        text = f"{wanted.method} was never asked on this tape ({path.name})"
    elif near.differences:
        text = f"this {wanted.method} is not on the tape ({path.name}); {near.words()}"
    else:
        text = f"this {wanted.method} is on the tape ({path.name}), but its answers are used up, or it is not its turn (order {replay.order}, repeats {replay.repeats})"
    return TapeMiss(text, {"method": wanted.method, "nearest": None if near is None else near.payload()})


def _other_era(exchange: Exchange, known: tuple[str, ...]) -> SpecError:
    """What a server says that knows only the other era (2026-07-28, basic/versioning.mdx)."""
    try:
        params = exchange.request.params()
        asked = text_of(params.get("protocolVersion", b"")) or text_of(exchange.request.meta().get(META_VERSION, b"")) or ""
    except BadMessage:
        asked = ""
    return SpecError(400, UNSUPPORTED_VERSION, "Unsupported protocol version: the tape has none of its sessions", {"supported": list(known), "requested": asked})
