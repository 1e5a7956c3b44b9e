"""The pool: permits are conserved, whoever is cancelled when; the dead are never lent; one suffices for one after the other."""
from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
from cancelling import Sword, cancel_everywhere, virtually
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from machine import TrioMachine

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


def conserved(pool: Pool[Thing], shop: Shop) -> None:
    """What holds at every moment."""
    assert 0 <= pool.leased <= pool.size
    assert pool.idle <= shop.living <= pool.size
    assert all(thing.users <= 1 for thing in shop.made)


class Refused(Exception):
    pass


# a user: start, time of use, deadline, what happens to its thing
users = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 7), st.sampled_from(["keeps", "breaks", "raises", "breaks in the pool"]))
openings = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1)


@settings(max_examples=400, deadline=None)
@given(size=st.integers(1, 3), patience=st.integers(1, 6), users=st.lists(users, max_size=8), openings=openings)
def test_permits_are_conserved(size: int, patience: int, users: list[tuple[int, int, int, str]], openings: list[tuple[int, bool]]) -> None:
    turns = itertools.cycle(openings)
    closing_time = False

    async def opening() -> None:
        seconds, refused = (0, False) if closing_time else next(turns)
        await trio.sleep(seconds)
        if refused:
            raise Refused

    async def main() -> None:
        shop = Shop(opening)
        pool: Pool[Thing] = Pool(shop.open, size, patience, "things")

        async def use(start: int, hold: int, deadline: int, how: str) -> None:
            await trio.sleep(start)
            with trio.move_on_after(deadline):
                try:
                    async with pool.lease() as thing:
                        assert thing.usable()
                        thing.users += 1
                        try:
                            conserved(pool, shop)
                            await trio.sleep(hold)
                            thing.broken = how == "breaks"
                            if how == "raises":
                                raise KeyError
                        finally:
                            thing.users -= 1
                except (KeyError, Refused, Overloaded):
                    return
                if how == "breaks in the pool":
                    thing.broken = True

        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(use, *user)
        conserved(pool, shop)
        assert (pool.leased, pool.waiting) == (0, 0)
        nonlocal closing_time
        closing_time = True
        for _ in range(size):  # all of the permits are there to be had
            await pool.acquire()
        assert pool.leased == size

    virtually(main)


def test_cancelled_at_every_step_nothing_is_lost() -> None:
    async def scenario(sword: Sword) -> None:
        shop = Shop(1.0)
        pool: Pool[Thing] = Pool(shop.open, 2, 100, "things")

        async def use(hold: int) -> None:
            async with pool.lease() as thing:
                thing.users += 1
                await trio.sleep(hold)
                thing.users -= 1

        with sword():
            async with trio.open_nursery() as nursery:
                for hold in (3, 1, 2, 1, 2):
                    nursery.start_soon(use, hold)
        assert (pool.leased, pool.waiting) == (0, 0)
        assert shop.living == pool.idle <= 2
        with trio.fail_after(5):  # both can still be had, at once
            one, other = await pool.acquire(), await pool.acquire()
        assert one is not other

    assert cancel_everywhere(scenario) > 12


async def test_one_after_the_other_opens_one(autojump_clock: trio.testing.MockClock) -> None:
    shop = Shop(1.0)
    pool: Pool[Thing] = Pool(shop.open, 10, 1, "things")
    for _ in range(20):
        async with pool.lease():
            await trio.sleep(1)
    assert len(shop.made) == 1


async def test_who_waits_is_served_in_order(autojump_clock: trio.testing.MockClock) -> None:
    pool: Pool[Thing] = Pool(Shop().open, 1, 100, "things")
    served: list[int] = []

    async def use(number: int) -> None:
        await trio.sleep(number)
        async with pool.lease():
            served.append(number)
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        for number in (3, 1, 0, 2):
            nursery.start_soon(use, number)
    assert served == [0, 1, 2, 3]


async def test_patience_ends_in_overloaded_which_names_the_setting(autojump_clock: trio.testing.MockClock) -> None:
    pool: Pool[Thing] = Pool(Shop().open, 1, 7, "things")
    held = await pool.acquire()
    start = trio.current_time()
    with pytest.raises(Overloaded, match=r"all 1 things are busy \(upstream\.pool\)"):
        await pool.acquire()
    assert trio.current_time() - start == 7
    pool.give_back(held)
    assert await pool.acquire() is held


@pytest.mark.parametrize("how", ["broke", "was aborted"])
async def test_the_dead_are_never_lent(how: str) -> None:
    shop = Shop()
    pool: Pool[Thing] = Pool(shop.open, 3, 1, "things")
    things = [await pool.acquire() for _ in range(3)]
    for thing in things:
        pool.give_back(thing)
    assert pool.idle == 3
    for thing in things[:2]:
        thing.broken, thing.aborted = how == "broke", how != "broke"
    assert await pool.acquire() is things[2]
    assert all(thing.aborted for thing in things[:2])
    assert (await pool.acquire()) is not things[2]
    assert len(shop.made) == 4


async def test_what_comes_back_unusable_is_dropped() -> None:
    shop = Shop()
    pool: Pool[Thing] = Pool(shop.open, 1, 1, "things")
    thing = await pool.acquire()
    thing.broken = True
    pool.give_back(thing)
    assert (thing.aborted, pool.idle, pool.leased) == (1, 0, 0)
    assert await pool.acquire() is not thing


async def test_a_refused_opening_gives_its_permit_back() -> None:
    async def refuse() -> None:
        raise Refused

    pool: Pool[Thing] = Pool(Shop(refuse).open, 1, 1, "things")
    for _ in range(3):
        with pytest.raises(Refused):
            await pool.acquire()
    assert pool.leased == 0


async def test_a_closed_pool_keeps_nothing() -> None:
    shop = Shop()
    pool: Pool[Thing] = Pool(shop.open, 3, 1, "things")
    idle, leased = await pool.acquire(), await pool.acquire()
    pool.give_back(idle)
    pool.close()
    assert (idle.aborted, leased.aborted, pool.idle) == (1, 0, 0)
    pool.give_back(leased)
    assert (leased.aborted, pool.idle, pool.leased) == (1, 0, 0)
    pool.close()
    assert idle.aborted == leased.aborted == 1


async def test_it_shows_its_state() -> None:
    pool: Pool[Thing] = Pool(Shop().open, 3, 1, "things")
    held = await pool.acquire()
    pool.give_back(await pool.acquire())
    assert repr(pool) == "<Pool of 3: 1 leased, 1 idle, 0 waiting>"
    pool.give_back(held)


class PoolMachine(TrioMachine):
    """Users come, wait, open, use, break, leave and are cancelled in any order; time passes now and then."""

    SIZE = 2
    PATIENCE = 5

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop(self.opening)
        self.gates: list[trio.Event] = []
        self.refusals = 0
        self.pool: Pool[Thing] = Pool(self.shop.open, self.SIZE, self.PATIENCE, "things")
        self.scopes: list[trio.CancelScope] = []
        self.holding: list[tuple[Thing, trio.Event]] = []

    async def opening(self) -> None:
        gate = trio.Event()
        self.gates.append(gate)
        try:
            await gate.wait()
        finally:
            self.gates.remove(gate)
        if self.refusals:
            self.refusals -= 1
            raise Refused

    async def use(self) -> None:
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            try:
                async with self.pool.lease() as thing:
                    assert thing.usable()
                    thing.users += 1
                    done = trio.Event()
                    self.holding.append((thing, done))
                    try:
                        await done.wait()
                    finally:
                        thing.users -= 1
                        self.holding.remove((thing, done))
            except (Refused, Overloaded):
                pass
            finally:
                self.scopes.remove(scope)

    @rule()
    def come(self) -> None:
        self.start(self.use)

    @precondition(lambda self: self.gates)
    @rule(refused=st.booleans())
    def open_one(self, refused: bool) -> None:
        self.refusals = int(refused)
        self.do(self.gates[0].set)

    @precondition(lambda self: self.holding)
    @rule(which=st.integers(0, 9), broken=st.booleans())
    def finish(self, which: int, broken: bool) -> None:
        thing, done = self.holding[which % len(self.holding)]
        thing.broken = broken
        self.do(done.set)

    @precondition(lambda self: self.scopes)
    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        self.do(self.scopes[which % len(self.scopes)].cancel)

    @precondition(lambda self: self.gates and self.scopes)
    @rule(which=st.integers(0, 9))
    def cancel_in_the_moment_of_success(self, which: int) -> None:
        scope, gate = self.scopes[which % len(self.scopes)], self.gates[0]
        self.do(lambda: (gate.set(), scope.cancel()))

    @precondition(lambda self: self.holding and self.scopes)
    @rule(who=st.integers(0, 9), which=st.integers(0, 9))
    def cancel_as_one_comes_back(self, who: int, which: int) -> None:
        scope, done = self.scopes[who % len(self.scopes)], self.holding[which % len(self.holding)][1]
        self.do(lambda: (done.set(), scope.cancel()))

    @rule()
    def break_all_idle(self) -> None:
        for thing in self.shop.made:
            if not thing.users:
                thing.broken = True

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        conserved(self.pool, self.shop)
        assert self.pool.idle + self.pool.leased <= self.SIZE
        assert self.pool.leased == len(self.holding) + len(self.gates)
        assert self.pool.waiting == len(self.scopes) - self.pool.leased
        assert not self.pool.waiting or self.pool.leased == self.SIZE
        assert self.shop.living == self.pool.idle + len(self.holding)


def test_any_history_conserves_permits() -> None:
    run_state_machine_as_test(PoolMachine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))
