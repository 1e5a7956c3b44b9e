"""A Hypothesis state machine over Trio in virtual time: each machine has a run of its own, in a thread that ends with it.

Rules are synchronous, so they say what to do with `call` (a coroutine in the run) and `start` (a task that goes on); after either, and
after `pass_time`, every task has run until it waits for something. Nothing depends on real time.
"""
from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio.testing
from hypothesis.stateful import RuleBasedStateMachine

T = TypeVar("T")
PATIENCE = 10.0


class TrioMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="state machine")
        self._thread.start()
        assert ready.wait(PATIENCE)

    def _run(self, ready: threading.Event) -> None:
        async def main() -> None:
            self._stop = trio.Event()
            self.token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as self.nursery:
                ready.set()
                await self._stop.wait()
                self.nursery.cancel_scope.cancel(reason="the machine is torn down")

        self.clock = trio.testing.MockClock()
        try:
            trio.run(main, clock=self.clock)
        except BaseException as error:  # told by teardown, in the thread of the test
            self.failure = error

    async def _settled(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
        result = await function(*args)
        await trio.testing.wait_all_tasks_blocked()
        return result

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        return trio.from_thread.run(self._settled, function, args, trio_token=self.token)

    def do(self, function: Callable[..., object], *args: object) -> None:
        """A synchronous step inside the run."""

        async def step() -> None:
            function(*args)

        self.call(step)

    def start(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        self.do(self.nursery.start_soon, function, *args)

    def pass_time(self, seconds: float) -> None:
        self.do(self.clock.jump, seconds)

    def teardown(self) -> None:
        if self._thread.is_alive():
            trio.from_thread.run_sync(self._stop.set, trio_token=self.token)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure
