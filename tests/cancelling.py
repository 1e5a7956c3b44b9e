"""Cancel a scenario at its k-th scheduling step, for every k, in virtual time.

In: a scenario that builds its world, enters `sword()` around the part that may be cancelled, and checks its world afterwards, whether it
was or not. Out: how many steps there were. A scenario that waits for ever fails, because virtual time is cheap.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio
import trio.testing

T = TypeVar("T")
FOR_EVER = 100_000.0
"""Virtual seconds: nothing that ends takes so long."""


class Sword(trio.abc.Instrument):
    """Counts the steps of all tasks while its block is open, and cancels the block after the one it was made for."""

    def __init__(self, at: int) -> None:
        self.at, self.step, self.fell = at, 0, False
        self._scope: trio.CancelScope | None = None

    @contextmanager
    def __call__(self) -> Iterator[trio.CancelScope]:
        with trio.CancelScope() as self._scope:
            try:
                yield self._scope
            finally:
                self._scope = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._scope is not None:
            self.step += 1
            if self.step == self.at:
                self.fell = True
                self._scope.cancel(reason="the sword fell")


Scenario = Callable[[Sword], Awaitable[None]]


def virtually(main: Callable[[], Awaitable[T]], *instruments: trio.abc.Instrument) -> T:
    """Run `main` in virtual time; what would wait for ever raises `TooSlowError`."""

    async def bounded() -> T:
        with trio.fail_after(FOR_EVER):
            return await main()

    return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0), instruments=instruments)


def cancel_everywhere(scenario: Scenario) -> int:
    """Run it once for every step that it has, and once more uncancelled."""
    for at in range(1, 100_000):
        sword = Sword(at)

        async def run(sword: Sword = sword) -> None:
            await scenario(sword)

        virtually(run, sword)
        if not sword.fell:
            return at - 1
    raise AssertionError("a scenario without end")
