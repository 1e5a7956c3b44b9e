"""A process of the tape benchmark, watched from its start to its end: its time, its CPU, the most memory that it had at once.

In: a command. Out: `Figures`, or `BenchError` if it ended otherwise than it should. With `within`, it is ended after so many
seconds. Nothing is left of it afterwards.
"""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from scenarios.load.plan import ROOT, BenchError
from scenarios.load.processes import Process
from scenarios.load.results import Figures
from scenarios.load.rig import Rig

EVERY = 0.05
"""Seconds between two looks; a last look may miss so much CPU."""


class Watched:
    """`look` now and then; then `seconds`, `cpu`, `peak` are what they came to. `without`: programs beside it that do not count."""

    def __init__(self, process: Process, without: Collection[str] = ()) -> None:
        self._process, self._without = process, frozenset(without)
        self._begun = time.perf_counter()
        self.cpu = self.peak = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def look(self) -> None:
        self.cpu = max(self.cpu, self._process.cpu_seconds(self._without))
        self.peak = max(self.peak, self._process.pss(self._without))


def watched(rig: Rig, command: Sequence[str], *, codes: Collection[int] = (0,), within: float | None = None, file: Path | None = None) -> tuple[Figures, str]:
    """Run it to its end: its figures, and its last words. With `file` they have the `share` of it that it had read."""
    with rig.running(command, rig.plan.proxy_cpu) as process:
        watch, share = Watched(process), 0.0
        while not process.ended and (within is None or watch.seconds < within):
            watch.look()
            share = share if file is None else max(share, _read(process.popen.pid, file))
            time.sleep(EVERY)
        seconds, ended = watch.seconds, process.ended
        if ended and process.popen.returncode not in codes:
            raise BenchError(f"exit code {process.popen.returncode}: {process.words()}")
    return {"seconds": seconds, "cpu_seconds": watch.cpu, "pss_mb": watch.peak / 1e6, "share": 1.0 if ended else share}, process.words()


def quiet(command: Sequence[str]) -> list[str]:
    """The same without its output: of 2 GB of it not the disk is measured."""
    return ["sh", "-c", 'exec "$@" > /dev/null', "sh", *command]


def module(rig: Rig, name: str, *words: str) -> list[str]:
    """A program beside this one, in a process of its own; whatever it keeps, it keeps in the rig's folder."""
    return ["env", f"PYTHONPATH={ROOT}", f"XDG_STATE_HOME={rig.folder / 'state'}", sys.executable, "-m", f"scenarios.load.{name}", *words]


def _read(pid: int, file: Path) -> float:
    """The share of the file that it has behind it."""
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            if os.path.realpath(f"/proc/{pid}/fd/{descriptor}") == str(file):
                position = int(Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().split()[1])
                return position / file.stat().st_size
    return 0.0
