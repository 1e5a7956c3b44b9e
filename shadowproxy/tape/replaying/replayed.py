"""A live session that is answered from a recorded one: which answer is next, what has been seen, which questions are open.

In: what the client asks, notes and answers. Out: the number of the recorded request that answers; places that were seen, with their times.
Synchronous and owns no task: between looking for an answer and taking it nothing can come in between, so that matching is deterministic.
`Playback`s wait here for what must come before their next frame, and are rung when anything was seen.
"""
from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import trio

from shadowproxy.config import Replay
from shadowproxy.tape.matching.match import SAFE, UNTIMELY, Matching, Wanted
from shadowproxy.tape.replaying.columns import Columns, RecordedSession
from shadowproxy.tape.replaying.course import Course, Standing
from shadowproxy.tape.replaying.index import QUESTIONS
from shadowproxy.wire.jsonrpc import Raw, key_of


class Player(Protocol):
    """A sequence that is being played to a client. `key`: of the id that its request has; `number`: of the GET stream that it is."""

    key: bytes
    number: int | None
    course: Course

    def ring(self) -> None: ...
    def cancel(self) -> None: ...
    def supersede(self) -> None: ...
    def hang_up(self) -> None: ...
    def answered(self, question: int) -> None: ...
    def goes_before(self, place: int) -> bool: ...


class Replayed:
    """`recorded_at(request)` reads a recorded request; `given` has a byte for each of the tape, 1 once it has been answered from."""

    def __init__(self, columns: Columns, recorded: RecordedSession, replay: Replay, matching: Matching, given: bytearray,
                 recorded_at: Callable[[int], Wanted]) -> None:  # fmt: skip
        self.columns, self.recorded = columns, recorded
        self._replay, self._matching, self._given, self._recorded_at = replay, matching, given, recorded_at
        self._used = bytearray(len(recorded.by_digest))  # a byte for each of these, 1 once it has answered
        self._last: dict[int, int] = {}  # by live digest: the request that answered last, if it may answer again
        self._cursors: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._opened: dict[int, Standing] = {}  # the GET streams that have been given, by their numbers, the newest last
        self._standing: set[Standing] = set()  # these, and the subscriptions under way
        self.seen: dict[int, float] = {}  # places, when
        self._furthest = 0  # of the places that have been played or said
        self.players: dict[Player, None] = {}  # oldest first
        self.questions: dict[bytes, tuple[Player, int]] = {}  # by the live id; who asked, and the place
        self.asked: set[int] = set()  # places of questions
        self.renamed: dict[bytes, Raw] = {}  # of open questions, by the recorded id
        self.tokens: dict[bytes, Raw | None] = {}  # of progress: what stands live for the recorded ones of the exchanges under way
        self._substitute = itertools.count(1).__next__
        self.resumable: dict[bytes, Raw] = {}  # by the recorded id: of requests whose stream ended before its response

    # ------------------------------------------------ which answer
    def find(self, wanted: Wanted) -> int | None:
        """The request that answers this one, taken; None if there is none, or none any more."""
        order = "any" if wanted.method in UNTIMELY else self._replay.order
        found = self._any(wanted) if order == "any" else self._in_order(wanted, "" if order == "strict" else wanted.method)
        again = self._replay.repeats == "all" or (self._replay.repeats == "safe" and wanted.method in SAFE)
        if found is None and again:
            found = self._last.get(wanted.digest, self._last.get(0) if wanted.method == "initialize" else None)
        if found is not None:
            self._take(found, wanted, again)
        return found

    def _any(self, wanted: Wanted) -> int | None:
        columns, recorded = self.columns, self.recorded
        if wanted.method == "initialize":  # whoever begins is answered, be it another client than the recorded one
            fresh = [at for at in map(self._at, recorded.greetings) if not self._used[at]]
            at = next((at for at in fresh if columns.digest[recorded.by_digest[at]] == wanted.digest), next(iter(fresh), -1))
        else:
            same = columns.same(recorded, wanted.digest)
            at = self._used.find(0, same.start, same.stop)
            if at < 0:
                at = next((self._at(request) for request in recorded.loose if self._fits(request, wanted)), -1)
        if at < 0:
            return None
        self._used[at] = 1
        return recorded.by_digest[at]

    def _fits(self, request: int, wanted: Wanted) -> bool:
        """Whether a request with redacted values stands for this one, and has not answered yet."""
        if self.columns.method_of(request) != wanted.method or self._used[self._at(request)]:
            return False
        return self._matching.equal(self._recorded_at(request), wanted)

    def _at(self, request: int) -> int:
        """Where in `by_digest` it is."""
        same = self.columns.same(self.recorded, self.columns.digest[request])
        return bisect_left(self.recorded.by_digest, request, same.start, same.stop)

    def _in_order(self, wanted: Wanted, cursor: str) -> int | None:
        """The next of all, or (a cursor for each method) the next of this method, if it is this one."""
        columns, requests = self.columns, self.recorded.requests
        at = self._cursors.get(cursor, 0)
        while at < len(requests) and ((name := columns.method_of(requests[at])) in UNTIMELY or (cursor and name != cursor)):
            at += 1
        self._cursors[cursor] = at
        if at == len(requests) or not self._is(requests[at], wanted):
            return None
        self._cursors[cursor] = at + 1
        return requests[at]

    def _is(self, request: int, wanted: Wanted) -> bool:
        if self.columns.method_of(request) != wanted.method:
            return False
        if self.columns.digest[request] == wanted.digest or wanted.method == "initialize":
            return True
        return bool(self.columns.loose[request]) and self._matching.equal(self._recorded_at(request), wanted)

    def _take(self, request: int, wanted: Wanted, again: bool) -> None:
        self._given[request] = 1
        if again:
            self._last[wanted.digest] = request
            if wanted.method == "initialize":
                self._last[0] = request
        self.mark(self.columns.place[request])

    def candidates(self, method: str) -> Iterator[int]:
        """Recorded requests of this method, the unused ones first."""
        columns = self.columns
        for used in (0, 1):
            for request in self.recorded.requests:
                if self._given[request] == used and columns.method_of(request) == method:
                    yield request

    # ------------------------------------------------ what has been seen
    def mark(self, place: int) -> None:
        """This frame of the tape has happened live."""
        self._furthest = max(self._furthest, place)
        if self.columns.awaited[place] and place not in self.seen:
            self._see(place)
            self.ring()

    def _see(self, place: int) -> None:
        if place not in self.seen:
            for standing in self._standing:
                standing.saw(place)
        self.seen[place] = trio.current_time()

    def ring(self) -> None:
        for player in list(self.players):
            player.ring()

    def note(self, method: str) -> int:
        """The client's notification stands for the next recorded one of its method. Gives the place where that was refused; 0: it was not."""
        places, number = self.recorded.notes.get(method, ()), self._noted.get(method, 0)
        if number >= len(places):
            return 0
        self._noted[method] = number + 1
        self.mark(places[number])
        return self.columns.after[places[number]]

    def ask(self, player: Player, place: int, recorded: Raw, wanted: Raw) -> Raw:
        """A question is on its way to the client. Gives its live id: the recorded one, unless a question with that one waits for its answer already."""
        key, live = key_of(wanted), wanted
        if key in self.questions:
            live = Raw(b'"tape-%d"' % self._substitute())
            key = key_of(live)
        if len(self.questions) >= QUESTIONS:
            del self.questions[next(iter(self.questions))]
        self.questions[key] = player, place
        self.renamed[bytes(recorded)] = live
        self.asked.add(place)
        return live

    def answer(self, key: bytes) -> bool:
        """The client has answered a question; False if none is open under this id."""
        if key not in self.questions:
            return False
        player, question = self.questions.pop(key)
        if (place := self.columns.answers.get(question)) is not None:
            self._see(place)
        player.answered(question)
        self.ring()
        return True

    def cancel(self, key: bytes) -> None:
        """The client gave up the newest of its requests that has this id."""
        for player in reversed(self.players):
            if player.key == key:
                return player.cancel()

    def joined(self, player: Player, tokens: Mapping[bytes, Raw | None]) -> None:
        self.players[player] = None
        self.tokens.update(tokens)

    def left(self, player: Player, tokens: Mapping[bytes, Raw | None]) -> None:
        self.players.pop(player, None)
        if player.number is None and isinstance(player.course, Standing):
            self._standing.discard(player.course)
        for token in tokens:
            self.tokens.pop(token, None)
        if player.number is None:  # what was asked on a GET stream may still be answered: its client may only have reconnected
            for key, (_, place) in [one for one in self.questions.items() if one[1][0] is player]:
                del self.questions[key]
                self.asked.discard(place)
        self.ring()

    # ------------------------------------------------ standing streams
    def stand(self, place: int) -> Standing:
        """The one that begins there: from its beginning."""
        standing = Standing(self.columns, place, self.seen)
        self._standing.add(standing)
        return standing

    def held(self) -> list[int]:
        """What its client was not sent, because what came before it on the tape has not happened: the first place of each group."""
        return sorted(place for standing in self._standing for place in standing.held(self.seen))

    @property
    def listened_to(self) -> bool:
        return any(player.number is not None for player in self.players)

    def overtakes(self, player: Player, place: int) -> bool:
        """Whether a standing stream has something earlier that is on its way, so that a notification and the response after it stay in order."""
        return any(other is not player and other.goes_before(place) for other in self.players)

    def stream(self, last_event_id: str | None) -> int | None:
        """Which of the recorded GET streams a live one gets: the one that resumed from this event, else the next, else the last one once more."""
        if last_event_id is not None and (found := self.resumption(last_event_id)) is not None:
            return found
        if (fresh := self._fresh()) is not None:
            return self._open(fresh)
        last = next(reversed(self._opened), None)
        for player in list(self.players):
            if last is not None and player.number == last:
                player.supersede()
        return last

    def following(self, number: int) -> int | None:
        """The GET stream that comes after this one, once the conversation is past its beginning: a client that has not reconnected gets it on the one it has."""
        fresh = self._fresh()
        if fresh is None or self._furthest < self.recorded.opens[fresh].place or number != next(reversed(self._opened)):
            return None
        return self._open(fresh)

    def resumption(self, last_event_id: str) -> int | None:
        """The recorded stream that resumed from this event, an unused one first."""
        found = [number for number, one in enumerate(self.recorded.opens) if one.last_event_id == last_event_id]
        return self._open(next((one for one in found if one not in self._opened), found[0])) if found else None

    def course(self, number: int) -> Standing:
        """How far a GET stream has got."""
        return self._opened[number]

    def hang_up(self) -> None:
        """The client has ended the session, and with it the server its streams."""
        for player in list(self.players):
            player.hang_up()

    def _fresh(self) -> int | None:
        return next((number for number, one in enumerate(self.recorded.opens) if number not in self._opened and one.last_event_id is None), None)

    def _open(self, number: int) -> int:
        if (old := self._opened.pop(number, None)) is not None:
            self._standing.discard(old)
        self._opened[number] = self.stand(self.recorded.opens[number].place)
        return number
