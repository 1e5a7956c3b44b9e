"""A live session that is answered from a recorded one: which answer is next, what has been seen, which questions are open.

In: what the client asks, notes and answers. Out: the number of the recorded request that answers; places that were seen, with their times.
Synchronous and owns no task: between looking for an answer and taking it nothing can come in between, so that matching is deterministic.
`Playback`s wait here for what must come before their next frame, and are rung when anything was seen.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import trio

from shadowproxy.config import Replay
from shadowproxy.tape.matching.match import SAFE, UNTIMELY, Matching, Wanted
from shadowproxy.tape.replaying.columns import Columns, Open, RecordedSession
from shadowproxy.tape.replaying.index import QUESTIONS
from shadowproxy.wire.jsonrpc import Raw, key_of


class Player(Protocol):
    """A sequence that is being played to a client. `key`: of the id that its request has; `number`: of the GET stream that it is."""

    key: bytes
    number: int | None

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
        self._taken: dict[int, int] = {}  # how many of each digest
        self._used: set[int] = set()  # of those that are found by other means than their digest
        self._last: dict[int, int] = {}  # by live digest: the request that answered last
        self._cursors: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._opened: dict[int, int] = {}  # which GET streams have been given, and where they are
        self.seen: dict[int, float] = {}  # places, when
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
        if found is None and (self._replay.repeats == "all" or (self._replay.repeats == "safe" and wanted.method in SAFE)):
            found = self._last.get(wanted.digest, self._last.get(0) if wanted.method == "initialize" else None)
        if found is not None:
            self._take(found, wanted)
        return found

    def _any(self, wanted: Wanted) -> int | None:
        columns, recorded = self.columns, self.recorded
        if wanted.method == "initialize":  # whoever begins is answered, be it another client than the recorded one
            fresh = [one for one in recorded.greetings if one not in self._used]
            return next((one for one in fresh if columns.digest[one] == wanted.digest), next(iter(fresh), None))
        for place in columns.same(recorded, wanted.digest)[self._taken.get(wanted.digest, 0) :]:
            self._taken[wanted.digest] = self._taken.get(wanted.digest, 0) + 1
            if (request := recorded.by_digest[place]) not in self._used:
                return request
        for request in recorded.loose:
            if request not in self._used and columns.method_of(request) == wanted.method and self._matching.equal(self._recorded_at(request), wanted):
                return request
        return None

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

    def _take(self, request: int, wanted: Wanted) -> None:
        self._given[request] = 1
        if self.columns.loose[request] or wanted.method == "initialize":
            self._used.add(request)
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
        if self.columns.awaited[place]:
            self.seen[place] = trio.current_time()
            self.ring()

    def ring(self) -> None:
        for player in list(self.players):
            player.ring()

    def note(self, method: str) -> None:
        """The client's notification stands for the next recorded one of its method."""
        places, number = self.recorded.notes.get(method, ()), self._noted.get(method, 0)
        if number < len(places):
            self._noted[method] = number + 1
            self.mark(places[number])

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
            self.seen[place] = trio.current_time()
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
        for token in tokens:
            self.tokens.pop(token, None)
        if player.number is None:  # what was asked on a GET stream may still be answered: its client may only have reconnected
            for key, (_, place) in [one for one in self.questions.items() if one[1][0] is player]:
                del self.questions[key]
                self.asked.discard(place)
        self.ring()

    # ------------------------------------------------ GET streams
    @property
    def listened_to(self) -> bool:
        return any(player.number is not None for player in self.players)

    def overtakes(self, player: Player, place: int) -> bool:
        """Whether a standing stream has something earlier that is on its way, so that a notification and the response after it stay in order."""
        return any(other is not player and other.goes_before(place) for other in self.players)

    def stream(self, last_event_id: str | None) -> tuple[int, Open] | None:
        """Which of the recorded streams a live GET gets: the one that resumed from this event, else the next, else the last one once more."""
        opens = self.recorded.opens
        if last_event_id is not None and (found := self.resumption(last_event_id)) is not None:
            return found
        fresh = [number for number, one in enumerate(opens) if number not in self._opened and one.last_event_id is None]
        if fresh:
            return self._open(fresh[0])
        last = next(reversed(self._opened), None)
        for player in list(self.players):
            if last is not None and player.number == last:
                player.supersede()
        return None if last is None else (last, opens[last])

    def hang_up(self) -> None:
        """The client has ended the session, and with it the server its streams."""
        for player in list(self.players):
            player.hang_up()

    def resumption(self, last_event_id: str) -> tuple[int, Open] | None:
        """The recorded stream that resumed from this event, an unused one first."""
        found = [number for number, one in enumerate(self.recorded.opens) if one.last_event_id == last_event_id]
        if not found:
            return None
        number = next((one for one in found if one not in self._opened), found[0])
        self._opened.pop(number, None)
        return self._open(number)

    def _open(self, number: int) -> tuple[int, Open]:
        stream = self.recorded.opens[number]
        self._opened[number] = stream.place
        self.mark(stream.place)
        return number, stream

    def position(self, number: int) -> int:
        """After which place a GET stream goes on."""
        return self._opened[number]

    def moved(self, number: int, place: int) -> None:
        self._opened[number] = place
        self.ring()
