"""The pool: permits bound how many exist, idle ones wait in a memory channel whose buffer is the permits.

In: a way to open one. Out: leases. A lease goes back only from a clean message boundary, else what it held is dropped; giving back is
synchronous and cannot fail, so a lease is returned by leaving the exchange, whoever raises. Owns no task: whoever opened the pool runs `trim`
in one of his, which drops what is beyond need. `close` drops all idle ones.
Invariant at every checkpoint: no more than `size` exist, and permits + leased == size; a permit on its way to who waited for it is a lease
that holds nothing yet.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

import trio

from shadowproxy.errors import Overloaded


class Poolable(Protocol):
    """`usable` is asked when it is given back and when it is lent again; `abort` drops it, now and for good."""

    def usable(self) -> bool: ...
    def abort(self) -> None: ...


C = TypeVar("C", bound=Poolable)


class Pool(Generic[C]):
    """At most `size` at once; who finds none free waits `patience` seconds, first come, first served. `what` names them in errors."""

    def __init__(self, connect: Callable[[], Awaitable[C]], size: int, patience: float, what: str) -> None:
        self._connect, self.size, self._patience, self._what = connect, size, patience, what
        self._permits = trio.Semaphore(size, max_value=size)
        self._give, self._take = trio.open_memory_channel[C](size)
        self.idle = 0
        self._unneeded = 0  # the fewest that were idle since the last look
        self._some = trio.Event()  # there is an idle one
        self._closed = False

    @property
    def leased(self) -> int:
        return self.size - self._permits.value

    @property
    def waiting(self) -> int:
        return self._permits.statistics().tasks_waiting

    async def acquire(self) -> C:
        """One to use until `give_back`. Raises `Overloaded`, and whatever opening a new one raises."""
        try:
            self._permits.acquire_nowait()
        except trio.WouldBlock:
            await self._wait()
        try:
            return self._idle() or await self._connect()
        except BaseException:
            self._permits.release()
            raise

    async def _wait(self) -> None:
        with trio.move_on_after(self._patience):
            await self._permits.acquire()
            return
        raise Overloaded(f"all {self.size} {self._what} are busy (upstream.pool); try again later")

    def _idle(self) -> C | None:
        """The one that has been idle longest, if it is still of use."""
        while (one := self._next()) is not None:
            if one.usable():
                return one
            one.abort()
        return None

    def _next(self) -> C | None:
        try:
            one = self._take.receive_nowait()
        except trio.WouldBlock:
            return None
        self.idle -= 1
        if self.idle < self._unneeded:
            self._unneeded = self.idle
        return one

    def spare(self) -> bool:
        """Drop one that is idle; False if there is none."""
        if (one := self._next()) is None:
            return False
        one.abort()
        return True

    async def trim(self, seconds: float) -> None:
        """For ever: drop what was not needed for `seconds`, before twice that time has passed. Sleeps while nothing is idle."""
        while True:
            if not self.idle:
                self._some = trio.Event()
                await self._some.wait()
            self._unneeded = self.idle
            await trio.sleep(seconds)
            for _ in range(self._unneeded):  # so many were idle all the time, whichever they were
                self.spare()

    def give_back(self, one: C) -> None:
        """End of the lease; it must not be used afterwards."""
        if not self._closed and one.usable():
            self._give.send_nowait(one)  # cannot block: the buffer is as large as the permits
            if not self.idle:
                self._some.set()
            self.idle += 1
        else:
            one.abort()
        self._permits.release()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[C]:
        one = await self.acquire()
        try:
            yield one
        except BaseException:
            one.abort()
            raise
        finally:
            self.give_back(one)

    def close(self) -> None:
        """Drop the idle ones now, and the leased ones as they come back."""
        self._closed = True
        while (one := self._idle()) is not None:
            one.abort()

    def __repr__(self) -> str:
        return f"<Pool of {self.size}: {self.leased} leased, {self.idle} idle, {self.waiting} waiting>"
