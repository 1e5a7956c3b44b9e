"""Admission: how many exchanges may be in flight, how many may wait, and nobody at all once we drain.

In: an exchange. Out: a permit, given back by leaving the exchange; or `Overloaded`. Owns no task: who waits, waits in its own.
The fast path neither waits nor checkpoints; the slow one is first come, first served, and bounded in count and in time.
"""
from __future__ import annotations

import trio

from shadowproxy.errors import Overloaded
from shadowproxy.exchange import Exchange


class Admission:
    """`permits`: exchanges in flight at most. `queue`: how many may wait for one, `patience` seconds each."""

    def __init__(self, permits: int, queue: int, patience: float) -> None:
        self.permits, self.queue, self.patience = permits, queue, patience
        self.draining = False
        self.refused = 0
        self._semaphore = trio.Semaphore(permits, max_value=permits)

    @property
    def in_flight(self) -> int:
        return self.permits - self._semaphore.value

    @property
    def waiting(self) -> int:
        return self._semaphore.statistics().tasks_waiting

    def enter_nowait(self, exchange: Exchange) -> bool:
        """Hold a permit until `exchange` is left, if one is free; False if one must be waited for. Raises `Overloaded` while draining."""
        if self.draining:
            self.refused += 1
            raise Overloaded("shadowproxy is shutting down; send the request again in a moment")
        try:
            self._semaphore.acquire_nowait()
        except trio.WouldBlock:
            return False
        exchange.on_leave(self._semaphore.release)
        return True

    async def enter(self, exchange: Exchange) -> None:
        """Hold a permit until `exchange` is left. Raises `Overloaded`."""
        if not self.enter_nowait(exchange):
            await self._wait()
            exchange.on_leave(self._semaphore.release)

    async def _wait(self) -> None:
        if self.waiting >= self.queue:
            self._refuse()
        with trio.move_on_after(self.patience):
            await self._semaphore.acquire()
            return
        self._refuse()

    def _refuse(self) -> None:
        self.refused += 1
        raise Overloaded(f"{self.permits} requests are in flight already (limits.exchanges); try again later")
