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
from shadowproxy.tape.replaying.replay import Held, Unused
from shadowproxy.tape.replaying.replay_opening import open_reading
from shadowproxy.tape.replaying.translation import refusal_of
from shadowproxy.testing.marks import Mark


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


def never_answered(recordings: Iterable[Path]) -> str:
    """Why the live server has said nothing at all on these; nothing if it has, or was not asked."""
    refusal = ""
    for frame in (frame for path in recordings for frame in _frames(path) if frame.dir == "s2c"):
        if frame.kind in ("response", "notification", "request"):
            return ""
        if frame.kind == "refusal":
            refusal = refusal or refusal_of(frame).message
    return refusal


def _requests(recordings: Iterable[Path]) -> Iterator[Frame]:
    for path in recordings:
        yield from (frame for frame in _frames(path) if frame.kind == "request" and frame.dir == "c2s")


def _frames(path: Path) -> Iterator[Frame]:
    with Reading(path) as reading:
        yield from reading


def report(mark: Mark, unused: Sequence[Unused], misses: Sequence[str], held: Sequence[Held] = ()) -> str:
    """What is wrong, and what to do; nothing if nothing is."""
    name, lines = mark.path.name, []
    if misses:
        lines += [f"{_count(misses, 'request is', 'requests are')} not on {name}:", *(f"    {text}" for text in misses),
                  f"    the client asks otherwise than when it was recorded; if it should: {mark.again('new_episodes')}",
                  "    if a request may be missing: @pytest.mark.tape(..., allow_misses=True)"]  # fmt: skip
    if unused:
        lines += [f"{_count(unused, f'recorded request of {name} was', f'recorded requests of {name} were')} not asked:", *(f"    frame {one.n}: {one.method}" for one in unused),
                  f"    the test does less than when it was recorded; if it should: {mark.again('rewrite')}",
                  "    if requests may stay unasked: @pytest.mark.tape(..., allow_unused=True)"]  # fmt: skip
    if held:
        lines += [f"{_count(held, f'message of {name} was', f'messages of {name} were')} not sent to a client that listened, because what came before has not happened:",
                  *(f"    frame {one.n}: {one.method or 'no message'}, after frame {one.after}" for one in held)]  # fmt: skip
    return "\n".join(lines)


def _count(found: Sequence[object], one: str, more: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else more}"
