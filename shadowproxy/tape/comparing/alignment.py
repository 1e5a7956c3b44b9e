"""Alignment: which exchange of one tape is which of another, by causal order and not by time.

In: two tapes, as they stream. Out: `Pair`s of places, in order, with one side None where nothing fits. Per session, direction, method and canonical
parameters the first is the first, the second the second; of what is left over, the same method about the same thing. Sessions are the same by what they
begin with, else by their order. What is remembered of a tape is a row an exchange, in a temporary database on disk: memory is bounded however long the
tapes. Owned by a `with` block.
"""
from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Literal, Self

import attrs
import msgspec

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import Ignoring, canonical
from shadowproxy.tape.verifying.verdicts import Answer, label_of
from shadowproxy.wire.jsonrpc import BadMessage, Message

WAITING: Final = 100_000
"""Requests of a tape that may be unanswered at once; of older ones the answer is taken for missing."""
Side = Literal[0, 1]
_TABLES: Final = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -16384;
CREATE TABLE item (side INT, session INT, leg TEXT, dir TEXT, request INT, label TEXT, digest BLOB, n INT, at INT, answer INT, answered BLOB);
CREATE TABLE session (side INT, number INT, name TEXT, digest BLOB, PRIMARY KEY (side, number)) WITHOUT ROWID;
"""
_MATCH: Final = """
CREATE TABLE opening AS SELECT *, row_number() OVER (PARTITION BY side, digest ORDER BY number) AS k FROM session;
CREATE TABLE same AS SELECT a.number AS a, b.number AS b FROM opening a JOIN opening b ON a.digest IS b.digest AND a.k = b.k WHERE a.side = 0 AND b.side = 1;
CREATE TABLE rest AS SELECT side, number, row_number() OVER (PARTITION BY side ORDER BY number) AS k FROM session
  WHERE (side = 0 AND number NOT IN (SELECT a FROM same)) OR (side = 1 AND number NOT IN (SELECT b FROM same));
INSERT INTO same SELECT a.number, b.number FROM rest a JOIN rest b ON a.k = b.k WHERE a.side = 0 AND b.side = 1;
CREATE UNIQUE INDEX same_b ON same (b);
UPDATE item SET session = coalesce((SELECT a FROM same WHERE b = session), -session - 1) WHERE side = 1;
CREATE TABLE ranked AS SELECT rowid AS id, side, session, leg, dir, request, digest, row_number() OVER (PARTITION BY side, session, leg, dir, request, digest ORDER BY n) AS k FROM item;
CREATE INDEX by_digest ON ranked (side, digest, session, k);
CREATE TABLE pair AS SELECT a.id AS a, b.id AS b FROM ranked a JOIN ranked b
  ON b.side = 1 AND b.digest = a.digest AND b.session = a.session AND b.k = a.k AND b.leg = a.leg AND b.dir = a.dir AND b.request = a.request WHERE a.side = 0;
CREATE INDEX pair_a ON pair (a); CREATE INDEX pair_b ON pair (b);
CREATE TABLE over AS SELECT rowid AS id, side, session, leg, dir, request, label, row_number() OVER (PARTITION BY side, session, leg, dir, request, label ORDER BY n) AS k FROM item
  WHERE (side = 0 AND rowid NOT IN (SELECT a FROM pair)) OR (side = 1 AND rowid NOT IN (SELECT b FROM pair));
CREATE INDEX by_label ON over (side, label, session, k);
INSERT INTO pair SELECT a.id, b.id FROM over a JOIN over b
  ON b.side = 1 AND b.label = a.label AND b.session = a.session AND b.k = a.k AND b.leg = a.leg AND b.dir = a.dir AND b.request = a.request WHERE a.side = 0;
INSERT INTO pair SELECT id, NULL FROM over WHERE side = 0 AND id NOT IN (SELECT a FROM pair WHERE a IS NOT NULL);
INSERT INTO pair SELECT NULL, id FROM over WHERE side = 1 AND id NOT IN (SELECT b FROM pair WHERE b IS NOT NULL);
"""
_PAIRS: Final = """
SELECT a.n, a.at, a.answer, a.label, a.dir, a.request, b.n, b.at, b.answer, b.label, b.dir, b.request,
  a.digest IS b.digest AND a.answered IS b.answered, a.digest IS b.digest FROM pair LEFT JOIN item a ON a.rowid = pair.a LEFT JOIN item b ON b.rowid = pair.b
  ORDER BY coalesce(a.n, b.n), a.n IS NULL
"""


@attrs.frozen
class Place:
    """A request or a notification: its frame's number, where that begins in the tape, and where the frame of its answer does (None: it has none)."""

    n: int
    at: int
    answer: int | None
    label: str
    dir: str
    is_request: bool


@attrs.frozen
class Pair:
    """`equal`: there is no difference, its answer included. `asked_alike`: at most its answer differs."""

    a: Place | None
    b: Place | None
    equal: bool
    asked_alike: bool


class Alignment:
    """`add` every frame of both tapes, then `pairs`."""

    def __init__(self, ignoring: Ignoring) -> None:
        self._ignoring = ignoring
        self._database = sqlite3.connect("")  # a file of sqlite's own, gone when it is closed
        self._database.executescript(_TABLES)
        self._sessions: dict[tuple[Side, str | None], int] = {}
        self._open: dict[tuple[Side, str, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def add(self, side: Side, frame: Frame, at: int) -> None:
        """A frame that begins at byte `at` of its tape."""
        if frame.kind in ("request", "notification") and frame.message is not None:
            self._put(side, frame, at)
        elif frame.kind in ("response", "refusal", "cancelled") or (frame.kind == "close" and (frame.stream or "")[:1] == "x"):
            number = frame.re if frame.re is not None else -(frame.exchange or 0)
            if (row := self._open.pop((side, frame.leg, number), None)) is not None:
                self._database.execute("UPDATE item SET answer = ?, answered = ? WHERE rowid = ?", (at, self._answered(frame), row))

    def _put(self, side: Side, frame: Frame, at: int) -> None:
        try:
            message = Message.decode(bytes(frame.message or b""))
        except BadMessage:
            return
        if self._ignoring.whole(message.method):
            return
        digest = self._digest(msgspec.json.decode(bytes(frame.message or b"")), message.method)
        session = self._session(side, frame.session, digest)
        row = self._database.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            (side, session, frame.leg, frame.dir, message.is_request, label_of(message), digest, frame.n, at)).lastrowid  # fmt: skip
        if message.is_request and row is not None:
            if len(self._open) >= WAITING:
                del self._open[next(iter(self._open))]
            self._open[side, frame.leg, frame.n] = row

    def _session(self, side: Side, name: str | None, digest: bytes) -> int:
        number = self._sessions.get((side, name))
        if number is None:
            number = self._sessions[side, name] = sum(one == side for one, _ in self._sessions)
            self._database.execute("INSERT INTO session VALUES (?, ?, ?, ?)", (side, number, name, digest))
        return number

    def _digest(self, value: object, method: str | None) -> bytes:
        return hashlib.blake2b(canonical(value, self._ignoring, method), digest_size=16).digest()

    def _answered(self, frame: Frame) -> bytes:
        answer = Answer.of_frame(frame)
        return self._digest(answer.value, None) if not answer.refusal else repr(answer.shape).encode()

    def pairs(self) -> Iterator[Pair]:
        """In the order of the first tape; what only the second has stands where it would."""
        self._database.executescript(_MATCH)
        for row in self._database.execute(_PAIRS):
            yield Pair(_place(row[:6]), _place(row[6:12]), bool(row[12]), bool(row[13]))


def _place(row: tuple[int | None, int, int | None, str, str, int]) -> Place | None:
    n, at, answer, label, dir, request = row
    return None if n is None else Place(n, at, answer, label, dir, bool(request))
