"""What of a tape a child process has used, by what it recorded; and what a test is told about its tape.

In: the tape, the recordings of the processes that answered from it. Out: the requests that nobody asked, and the misses, in words. The child itself ended
unseen, so its recorded requests are counted against the tape's: each takes one that is equal.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shadowproxy.config import Replay
from shadowproxy.errors import TapeMiss
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.match import Matching
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.index import read_index
from shadowproxy.tape.replaying.replay import TapeUpstream, Unused
from shadowproxy.tape.replaying.replay_opening import redactor_of


def open_reading(reading: Reading, replay: Replay) -> TapeUpstream:
    """A tape that answers, without a task or a thread: for small tapes, as tests have them."""
    redactor = redactor_of(reading.header)
    matching = Matching(replay.ignore) if redactor is None else Matching(replay.ignore, redactor.message, redactor.stands_for)
    return TapeUpstream(reading, read_index(reading, matching), replay, matching)


def unused_by(recordings: Iterable[Path], tape: Path, replay: Replay) -> list[Unused]:
    """The tape's requests, without those that the recordings have asked. An `initialize` is answered whatever it says, and so is one with redacted values."""
    matching = Matching(replay.ignore)
    asked = Counter(matching.recorded(frame.method or "", bytes(frame.message or b"")).digest for frame in _requests(recordings))
    greeted = any(frame.method == "initialize" for frame in _requests(recordings))
    recorded = {frame.n: matching.recorded(frame.method or "", bytes(frame.message or b"")) for frame in _requests([tape])}
    with Reading(tape) as reading:
        unused = open_reading(reading, replay).unused()
    left = []
    for one in unused:
        wanted = recorded[one.n]
        if asked[wanted.digest] > 0:
            asked[wanted.digest] -= 1
        elif not ((one.method == "initialize" and greeted) or wanted.loose):
            left.append(one)
    return left


def misses_in(recordings: Iterable[Path]) -> list[str]:
    """What the clients of these were told of requests that are not on the tape."""
    answers = (frame.value() for path in recordings for frame in _frames(path) if frame.is_error and frame.message is not None)
    errors = [answer["error"] for answer in answers]
    return [error["message"] for error in errors if error.get("code") == TapeMiss.code]


def _requests(recordings: Iterable[Path]) -> Iterator[Frame]:
    for path in recordings:
        yield from (frame for frame in _frames(path) if frame.kind == "request" and frame.dir == "c2s")


def _frames(path: Path) -> Iterator[Frame]:
    with Reading(path) as reading:
        yield from reading


def report(tape: Path, unused: Sequence[Unused], misses: Sequence[str]) -> str:
    """What is wrong, and what to do; nothing if nothing is."""
    lines = []
    if misses:
        lines += [f"{len(misses)} requests are not on {tape.name}:", *(f"    {text}" for text in misses),
                  "    record them (--tape-mode=new_episodes or rewrite), or allow them: @pytest.mark.tape(..., allow_misses=True)"]  # fmt: skip
    if unused:
        lines += [f"{len(unused)} recorded requests of {tape.name} were not asked:", *(f"    frame {one.n}: {one.method}" for one in unused),
                  "    record anew (--tape-mode=rewrite), or allow that: @pytest.mark.tape(..., allow_unused=True)"]  # fmt: skip
    return "\n".join(lines)
