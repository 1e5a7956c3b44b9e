"""The difference of two tapes: exchanges whose answers differ, that one has and the other has not, and the drift of the server's surface.

In: two paths. Out: `Finding`s, of which the first tape is what was recorded, and graded changes; `run` is what the command line calls. Each tape is read
once as it streams and then, at the places that differ, again (`alignment.py`). A compressed tape is unpacked into a temporary file for that.
"""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal, TextIO

import attrs

from shadowproxy.tape.comparing.alignment import Alignment, Pair, Place, Side
from shadowproxy.tape.comparing.diff_report import write_diff
from shadowproxy.tape.comparing.drift import reaches, surface_drift, worst
from shadowproxy.tape.comparing.drift_report import Format
from shadowproxy.tape.comparing.schema_drift import Change, Grade
from shadowproxy.tape.comparing.surface import SurfaceReader
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import VOLATILE, Ignoring, differences
from shadowproxy.tape.reader import Reading, open_bytes
from shadowproxy.tape.verifying.verdicts import Answer, Finding, Tally, judge

UNANSWERED: Final = Answer(refusal="unanswered", text="the tape has no answer", lost=True)
FailOn = Literal["breaking", "dangerous", "minor", "info", "any", "none"]
"""When two tapes count as different: drift of a grade or worse; any: or any difference at all."""


@attrs.frozen
class Outcome:
    """What `run` has found: findings by verdict (equal exchanges are MATCH), the worst grade of the surface's drift, which tapes have a torn last line."""

    tally: Tally
    grade: Grade | None
    torn: Sequence[Path] = ()

    @property
    def different(self) -> bool:
        return self.grade is not None or any(count for verdict, count in self.tally.counts.items() if verdict != "MATCH")

    def fails(self, on: FailOn) -> bool:
        if on == "any":
            return self.different
        return on != "none" and reaches(self.grade, on)


@attrs.define
class Comparison:
    """Two tapes, open; iterating gives the findings, once."""

    a: Reading
    b: Reading
    alignment: Alignment
    ignoring: Ignoring
    tally: Tally
    drift: Sequence[Change] = ()
    torn: Sequence[Path] = ()

    def findings(self) -> Iterator[Finding]:
        """All but the equal ones, which are counted only."""
        for pair in self.alignment.pairs():
            finding = None if pair.equal else self._finding(pair)
            self.tally.counts["MATCH" if finding is None else finding.verdict] += 1
            if finding is not None:
                yield finding

    def _finding(self, pair: Pair) -> Finding | None:
        old, new = None if pair.a is None else self.a.at(pair.a.at), None if pair.b is None else self.b.at(pair.b.at)
        one, place = (old, pair.a) if old is not None else (new, pair.b)
        assert one is not None
        assert place is not None
        what: Literal["exchange", "notification", "request"] = "exchange" if place.is_request else "notification"
        about = Finding(verdict="MATCH", label=_label(place), what=what, session=one.session, exchange=one.exchange, n=_number(pair.a), other=_number(pair.b))
        if old is None or new is None:
            return attrs.evolve(about, verdict="EXTRA" if old is None else "MISSING")
        if not pair.asked_alike:
            found = tuple(differences(old.value(), new.value(), self.ignoring, old.method))
            return attrs.evolve(about, verdict="CHANGED", differences=found, reason="asked otherwise" if place.is_request else "") if found else None
        verdict, reason, found = judge(_answer(self.a, pair.a), _answer(self.b, pair.b), self.ignoring, old.method)
        return None if verdict == "MATCH" else attrs.evolve(about, verdict=verdict, reason=reason, differences=found)


def run(a: Path, b: Path, format: Format, out: TextIO, *, ignore: Sequence[str] = (), progress: Callable[[int, int], None] | None = None) -> Outcome:
    """Write how the second tape differs from the first. `progress` is told of bytes read and bytes in all. Raises `Unreadable`, `OSError`, `BadPointer`."""
    with ExitStack() as stack:
        comparison = compare(stack, a, b, ignore, progress)
        write_diff(comparison.findings(), comparison.tally, comparison.drift, format, out)
        return Outcome(comparison.tally, worst(comparison.drift), comparison.torn)


def compare(stack: ExitStack, a: Path, b: Path, ignore: Sequence[str] = (), progress: Callable[[int, int], None] | None = None) -> Comparison:
    """Read both, and align them; what that needs is given back by `stack`."""
    first, second = (stack.enter_context(Reading(_plain(stack, path))) for path in (a, b))
    keyed = first.header.key is not None and first.header.key == second.header.key  # equal secrets have equal tokens
    ignoring = attrs.evolve(VOLATILE.and_also(ignore), wild=not keyed)
    alignment = stack.enter_context(Alignment(ignoring))
    total, done, surfaces, torn = first.path.stat().st_size + second.path.stat().st_size, 0, [], []
    sides: tuple[tuple[Side, Reading], ...] = ((0, first), (1, second))
    tally = Tally()
    for side, reading in sides:
        surface = SurfaceReader()
        for frame, at in _placed(reading):
            alignment.add(side, frame, at)
            surface.take(frame)
            tally.lost += frame.lost or 0
            if progress is not None and frame.n % 1000 == 0:
                progress(done + reading.offset, total)
        surfaces.append(surface.latest)
        done += reading.offset
        if reading.torn:
            torn.append(reading.path)
    return Comparison(first, second, alignment, ignoring, tally, surface_drift(*surfaces), torn)


def _placed(reading: Reading) -> Iterator[tuple[Frame, int]]:
    at = reading.offset
    while (frame := reading.next()) is not None:
        yield frame, at
        at = reading.offset


def _plain(stack: ExitStack, path: Path) -> Path:
    """The tape itself, or what is in it: a compressed one cannot be read at a place."""
    if path.suffix != ".zst":
        return path
    file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".jsonl"))  # noqa: SIM115 -- the stack's
    with open_bytes(path) as packed:
        shutil.copyfileobj(packed, file)
    file.flush()
    return Path(file.name)


def _answer(tape: Reading, place: Place | None) -> Answer:
    return UNANSWERED if place is None or place.answer is None else Answer.of_frame(tape.at(place.answer))


def _number(place: Place | None) -> int | None:
    return None if place is None else place.n


def _label(place: Place) -> str:
    return place.label if place.dir == "c2s" else f"<- {place.label}"
