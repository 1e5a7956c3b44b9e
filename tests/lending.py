"""Users of a pool, and what may happen to them: a world whose steps are synchronous, for the state machine (`test_pool.py`) and for its long form (`crowd/leases.py`).

In: steps. Out: what must hold when every task waits for something (`nothing_is_lost`), and how each lease ended (`ends`).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from shadowproxy.errors import Overloaded
from shadowproxy.upstream.pool import Pool


class Thing:
    """Something that can be lent; `broken` is what makes it unusable."""

    def __init__(self, number: int) -> None:
        self.number, self.broken, self.aborted, self.users = number, False, 0, 0

    def usable(self) -> bool:
        return not self.broken and not self.aborted

    def abort(self) -> None:
        self.aborted += 1


class Shop:
    """Opens things, slowly and sometimes not at all, and keeps them all to be looked at."""

    def __init__(self, opening: Callable[[], Awaitable[None]] | float = 0) -> None:
        self.made: list[Thing] = []
        self._opening = opening

    async def open(self) -> Thing:
        if callable(self._opening):
            await self._opening()
        else:
            await trio.sleep(self._opening)
        self.made.append(Thing(len(self.made)))
        return self.made[-1]

    @property
    def living(self) -> int:
        return sum(not thing.aborted for thing in self.made)

    def forget_the_dead(self) -> None:
        """For who stays long."""
        self.made = [thing for thing in self.made if not thing.aborted or thing.users]


class Refused(Exception):
    pass


def conserved(pool: Pool[Thing], shop: Shop) -> None:
    """What holds at every moment."""
    assert 0 <= pool.leased <= pool.size
    assert pool.idle <= shop.living <= pool.size
    assert all(thing.users <= 1 for thing in shop.made)


class Lending:
    """Each user is a task in `use`. Lists are in the order of arrival; `which` is taken modulo their length."""

    def __init__(self, size: int, patience: float) -> None:
        self.shop = Shop(self._opening)
        self.pool: Pool[Thing] = Pool(self.shop.open, size, patience, "things")
        self.gates: list[trio.Event] = []  # of who waits for one to be opened
        self.scopes: list[trio.CancelScope] = []  # of everybody
        self.holding: list[tuple[Thing, trio.Event]] = []
        self.ends: Counter[str] = Counter()
        self._refusals = 0

    async def _opening(self) -> None:
        gate = trio.Event()
        self.gates.append(gate)
        try:
            await gate.wait()
        finally:
            self.gates.remove(gate)
        if self._refusals:
            self._refusals -= 1
            raise Refused

    async def use(self) -> None:
        end = "cancelled before it had one"
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            try:
                async with self.pool.lease() as thing:
                    end = "cancelled with it"
                    await self._hold(thing)
                    end = "given back broken" if thing.broken else "given back"
            except Refused:
                end = "could not be opened"
            except Overloaded:
                end = "waited in vain"
            finally:
                self.scopes.remove(scope)
        self.ends[end] += 1

    async def _hold(self, thing: Thing) -> None:
        assert thing.usable()
        thing.users += 1
        done = trio.Event()
        self.holding.append((thing, done))
        try:
            await done.wait()
        finally:
            thing.users -= 1
            self.holding.remove((thing, done))

    # ------------------------------------------------ steps
    def open_one(self, refused: bool) -> None:
        self._refusals = int(refused)
        self.gates[0].set()

    def finish(self, which: int, broken: bool) -> None:
        thing, done = self.holding[which % len(self.holding)]
        thing.broken = broken
        done.set()

    def cancel(self, which: int) -> None:
        self.scopes[which % len(self.scopes)].cancel()

    def cancel_in_the_moment_of_success(self, which: int) -> None:
        scope, gate = self.scopes[which % len(self.scopes)], self.gates[0]
        gate.set()
        scope.cancel()

    def cancel_as_one_comes_back(self, who: int, which: int) -> None:
        scope, done = self.scopes[who % len(self.scopes)], self.holding[which % len(self.holding)][1]
        done.set()
        scope.cancel()

    def break_all_idle(self) -> None:
        for thing in self.shop.made:
            if not thing.users:
                thing.broken = True

    def nothing_is_lost(self) -> None:
        """Holds whenever every task waits for something."""
        conserved(self.pool, self.shop)
        assert self.pool.idle + self.pool.leased <= self.pool.size
        assert self.pool.leased == len(self.holding) + len(self.gates)
        assert self.pool.waiting == len(self.scopes) - self.pool.leased
        assert not self.pool.waiting or self.pool.leased == self.pool.size
        assert self.shop.living == self.pool.idle + len(self.holding)
