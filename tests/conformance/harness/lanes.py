"""One run: its legs side by side in two lanes, what they found, and what could not be run.

In come the legs wanted and the proxy's command, out goes a finished `Run`. All programs have ended by then, also
when it is interrupted: the lanes are tasks of one nursery, and every program belongs to a block of theirs.
"""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from .legs import LEGS, Lab
from .processes import BrokenRunError
from .report import Found
from .suite import install

LANES: Final = (("direct", "http", "stdio", "replay"), ("client-direct", "client"))
"""Two legs at once, never two of a lane: the client's scenarios measure time, and the machine may have two cores."""


def say(words: str) -> None:
    """Tell whoever is watching."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def chosen(leg: str | None) -> list[str]:
    """The legs to run: all of them, or one with the one it is compared with."""
    if leg is None:
        return list(LEGS)
    return [name for name in (LEGS[leg].baseline, leg) if name is not None]


class Run:
    """The results of the legs as they come in."""

    def __init__(self, lab: Lab) -> None:
        """Start with nothing."""
        self.lab = lab
        self.found: Found = {}
        self.broken: dict[str, str] = {}

    async def legs(self, names: Sequence[str]) -> None:
        """Run the legs, each lane beside the other."""
        async with trio.open_nursery() as watch:
            watch.start_soon(_heed_sigterm)
            async with trio.open_nursery() as nursery:
                for lane in LANES:
                    nursery.start_soon(self._lane, [name for name in lane if name in names])
            watch.cancel_scope.cancel()

    def comparable(self) -> Found:
        """The legs that were run and whose baseline was run too, in the order of the table."""
        return {name: self.found[name] for name in LEGS if name in self.found and self._measure(name) in self.found}

    def _measure(self, name: str) -> str:
        return LEGS[name].baseline or name

    async def _lane(self, names: Sequence[str]) -> None:
        for name in names:
            started = time.monotonic()
            try:
                self.found[name] = await LEGS[name].run(self.lab)
            except BrokenRunError as error:
                self.broken[name] = str(error)
            say(f"{name}: {time.monotonic() - started:.1f} s")


async def _heed_sigterm() -> None:
    # Python would end on the spot, and leave the programs of the run behind.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


async def _perform(cache: Path, raw: Path, names: Sequence[str], proxy: Sequence[str], scenario: str | None) -> Run:
    run = Run(Lab(await install(cache), proxy, raw, scenario))
    await run.legs(names)
    return run


def perform(cache: Path, raw: Path, names: Sequence[str], proxy: Sequence[str], scenario: str | None) -> Run:
    """Install the suite into the cache if need be, and run the legs; the suite's files go into `raw`."""
    return trio.run(_perform, cache, raw, names, proxy, scenario)
