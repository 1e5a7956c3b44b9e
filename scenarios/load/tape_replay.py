"""`shadowproxy replay` on standard input and output, and a client that asks again what the tape's first session asked.

In: a tape. Out: how long it took until the tape answered (it is read through first), then how fast it answers, and the most memory it had.
"""
from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from scenarios.load.plan import BenchError
from scenarios.load.processes import Process
from scenarios.load.results import Figures
from scenarios.load.rig import Rig
from scenarios.load.tape_process import Watched
from shadowproxy.tape.reader import Reading

AT_ONCE = 32
MOST = 100_000
"""Frames of the first session that are played."""
LOOK = 1.0
"""Seconds between two looks at the process: each takes tens of milliseconds, in which nobody asks anything."""
PATIENCE = 300.0
"""Seconds in which something must come: 2 GB are read before the first answer."""


class Replay:
    """A running replay of a tape."""

    def __init__(self, process: Process, tape: Path) -> None:
        self._process = process
        self._watch = Watched(process)
        self._rounds = _rounds(tape)
        self._looked = 0.0

    def opened(self) -> Figures:
        """Until the handshake is answered."""
        said, expected = next(self._rounds)
        self._exchange(said, expected)
        seconds = self._watch.seconds
        self._watch.look()
        return {"seconds": seconds, "cpu_seconds": self._watch.cpu, "pss_mb": self._watch.peak / 1e6}

    def answers(self) -> Figures:
        """All else that the session asked."""
        frames = size = 0
        begun, cpu = time.perf_counter(), self._watch.cpu
        for said, expected in self._rounds:
            size += len(said) + self._exchange(said, expected)
            frames += said.count(b"\n") + expected
        seconds = time.perf_counter() - begun
        self._watch.look()
        cpu = self._watch.cpu - cpu
        return {"seconds": seconds, "cpu_seconds": cpu, "pss_mb": self._watch.peak / 1e6, "tape_mb": size / 1e6, "frames": frames, "frames_s": frames / seconds,
                "cpu_us_frame": cpu * 1e6 / frames}  # fmt: skip

    def _exchange(self, said: bytes, expected: int) -> int:
        """Say it, and hear so many lines; how many bytes they were."""
        stdin, stdout = self._process.popen.stdin, self._process.popen.stdout
        assert stdin is not None
        assert stdout is not None
        os.set_blocking(stdin.fileno(), False)
        rest, heard, due = memoryview(said), 0, time.monotonic() + PATIENCE
        while expected > 0:
            if (now := time.monotonic()) > self._looked + LOOK:
                self._watch.look()
                self._looked = now
            readable, writable, _ = select.select([stdout], [stdin] if rest else [], [], 0.05)
            if writable:
                rest = rest[os.write(stdin.fileno(), rest[:65536]) :]
            if readable:
                data = os.read(stdout.fileno(), 1 << 20)
                heard, expected = heard + len(data), expected - data.count(b"\n")
            if self._process.ended or now > due:
                raise BenchError(f"no answer: {self._process.words()}")
        return heard


def _rounds(tape: Path) -> Iterator[tuple[bytes, int]]:
    """What the client of the first session says at once, and how many messages answer it; first the handshake."""
    said: list[bytes] = []
    expected = requests = 0
    with Reading(tape) as reading:
        for frame in islice(reading, MOST):
            if frame.session != "s1":
                break
            if frame.dir == "c2s" and frame.kind == "request":
                if requests == AT_ONCE or (said and frame.method == "tools/list"):
                    yield b"".join(said), expected
                    said, expected, requests = [], 0, 0
                requests += 1
            if frame.message is not None and frame.dir == "c2s":
                said.append(bytes(frame.message) + b"\n")
            elif frame.kind in ("response", "notification"):
                expected += 1
    yield b"".join(said), expected


@contextmanager
def replaying(rig: Rig, tape: Path) -> Iterator[Replay]:
    with rig.running([*rig.plan.proxy, "replay", str(tape)], rig.plan.proxy_cpu, pipes=True) as process:
        yield Replay(process, tape)
