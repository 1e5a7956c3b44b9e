"""A recorder in memory: its tapes are lists of frames, its thread is this one, its time is virtual.

In: an upstream, or interceptors that rewrite. Out: a `Memory` whose `told` are frames in words, as short as a test can be read:
direction, kind, method, #exchange, @stream, id, re, and what else there is. `recording` owns the recorder's task; leaving it writes what waits.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from shadowproxy.service import running
from shadowproxy.tape.frame import Frame, decode_frame
from shadowproxy.tape.recording.envelopes import Redacts
from shadowproxy.tape.recording.recorder import Recorder
from shadowproxy.tape.recording.track import Track
from shadowproxy.wire.jsonrpc import Raw

DISK_FULL = OSError(28, "No space left on device")


class Memory:
    """A `Writer`. Frames go through their lines, so that what could not be read back is noticed. `full`: every write fails."""

    def __init__(self) -> None:
        self.tapes: dict[str, list[Frame]] = {}
        self.full = self.closed = False
        self.writes = 0

    def write(self, track: Track, data: bytes) -> None:
        assert not self.closed
        self.writes += 1
        if self.full:
            raise DISK_FULL
        self.tapes.setdefault(track.name, []).extend(decode_frame(line) for line in data.splitlines())

    def close(self) -> None:
        self.closed = True

    @property
    def frames(self) -> list[Frame]:
        """Of the tape of all."""
        return self.tapes.get("", [])

    @property
    def told(self) -> list[str]:
        return [told(frame) for frame in self.frames]

    def lines(self, *kinds: str) -> list[str]:
        """Only frames of these kinds."""
        return [told(frame) for frame in self.frames if frame.kind in kinds]


def told(frame: Frame) -> str:
    words = [">" if frame.dir == "c2s" else "<", frame.kind]
    if frame.leg != "both":
        words.insert(0, frame.leg)
    http, sse = frame.http, frame.sse
    for mark, value in (("", frame.method), ("#", frame.exchange), ("@", frame.stream), ("session=", frame.session), ("id=", _json(frame.id)),
                        ("re=", frame.re), ("token=", _json(frame.token)), ("", http and http.method), ("", http and http.status),
                        ("event=", sse and sse.event), ("event-id=", sse and sse.id), ("retry=", sse and sse.retry), ("data=", sse and sse.data), (":", sse and sse.comment), ("lost=", frame.lost),
                        ("", frame.error)):  # fmt: skip
        if value is not None:
            words.append(mark + str(value))
    return " ".join(words)


def _json(raw: Raw | None) -> str | None:
    return None if raw is None else bytes(raw).decode()


def whole(frames: Sequence[Frame]) -> int:
    """How many frames are missing; asserts that every hole in the numbers is the `lost` of a gap."""
    expected, lost = 1, 0
    for frame in frames:
        assert frame.n == expected, f"{frame.n} follows, not {expected}"
        expected = frame.n + (frame.lost or 1)
        lost += frame.lost or 0
    return lost


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """In place of a thread, with which virtual time would run away."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@asynccontextmanager
async def recording(memory: Memory, redactor: Redacts | None = None, *, thread: Callable[..., Awaitable[Any]] = at_once, **settings: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(memory, redactor, thread=thread, origin=1_790_000_000.0, **settings)
    async with running(recorder.run):
        yield recorder
    assert memory.closed
