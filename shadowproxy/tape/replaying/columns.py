"""What is known of a tape once it has been read through: where each frame is, and how they hang together. Numbers in arrays, no frames.

Written by `index.py`, read by replay. A *place* is a frame's ordinal, from 1; 0 is none. A *sequence* is what the server sends, and waits for, in the
course of one exchange or on one standing stream: places linked by `after`, begun by the client's request or `open`. Those of a standing stream are in
*groups*: each is what followed one and the same thing of the client's, its cause. After the place of a notification, or of the client's farewell, comes
its refusal, if it was refused.
"""
from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

import attrs


@attrs.define
class Open:
    """A recorded GET stream. `last_event_id`: what it resumed from."""

    place: int
    last_event_id: str | None = None


@attrs.define
class Groups:
    """Of one standing stream, but for what came on it before anything of the client's did: the causes, ascending, and the first place that followed each."""

    causes: array[int] = attrs.field(factory=lambda: array("I"))
    firsts: array[int] = attrs.field(factory=lambda: array("I"))

    def first(self, cause: int) -> int:
        at = bisect_left(self.causes, cause)
        return self.firsts[at] if at < len(self.causes) and self.causes[at] == cause else 0


@attrs.define(eq=False)
class RecordedSession:
    """A legacy session, or (`modern`) everything of the modern era. Requests by their ordinals, in the order in which they came."""

    name: str | None
    modern: bool = False
    requests: array[int] = attrs.field(factory=lambda: array("I"))
    by_digest: array[int] = attrs.field(factory=lambda: array("I"))
    loose: array[int] = attrs.field(factory=lambda: array("I"))  # those with redacted values
    greetings: array[int] = attrs.field(factory=lambda: array("I"))  # of `initialize`
    opens: list[Open] = attrs.field(factory=list)
    notes: dict[str, array[int]] = attrs.field(factory=dict)  # places of the client's notifications, by method
    end: int = 0  # the place of the client's farewell
    answered: bool = False  # it was not only refused, as what belongs to no session is by a server that keeps some

    @property
    def only_greets(self) -> bool:
        """The server kept no sessions: what followed the handshake belongs to none."""
        return bool(self.greetings) and len(self.greetings) == len(self.requests) and not self.opens


class Columns:
    def __init__(self) -> None:
        # By place.
        self.offset, self.after, self.cause, self.awaited = array("Q", [0]), array("I", [0]), array("I", [0]), bytearray(1)
        """`cause`: of the first of a group, the place that must have been seen before it; of a client's answer, the question's place. `awaited`: a cause."""
        self.groups: dict[int, Groups] = {}  # by where their stream begins
        # By request.
        self.place, self.digest, self.method, self.loose = array("I"), array("Q"), array("I"), bytearray()
        self.methods: list[str] = []
        self.answers: dict[int, int] = {}  # the question's place: the answer's
        self.sessions: list[RecordedSession] = []
        self.gaps = 0  # frames that are missing
        self.last_frame = self.last_exchange = 0  # their numbers

    @property
    def requests(self) -> int:
        return len(self.place)

    def method_of(self, request: int) -> str:
        return self.methods[self.method[request]]

    def same(self, session: RecordedSession, digest: int) -> range:
        """Where in `session.by_digest` the requests with this digest are, in the order in which they came."""
        start = bisect_left(session.by_digest, digest, key=self.digest.__getitem__)
        return range(start, bisect_right(session.by_digest, digest, start, key=self.digest.__getitem__))

    @property
    def modern(self) -> RecordedSession | None:
        return next((session for session in self.sessions if session.modern), None)

    @property
    def legacy(self) -> list[RecordedSession]:
        return [session for session in self.sessions if not session.modern]
