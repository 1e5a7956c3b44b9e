"""The pool: permits are conserved, whoever is cancelled when; the dead are never lent; one suffices for one after the other."""
from __future__ import annotations

import itertools

import pytest
import trio
from cancelling import Sword, cancel_everywhere, virtually
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from lending import Lending, Refused, Shop, Thing, conserved
from machine import TrioMachine

from shadowproxy.errors import Overloaded
from shadowproxy.upstream.pool import Pool

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


# --- beyond need

async def test_what_was_not_needed_for_a_while_is_dropped_and_the_rest_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    shop = Shop()
    pool: Pool[Thing] = Pool(shop.open, 10, 1, "things")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.trim, 4)
        things = [await pool.acquire() for _ in range(10)]
        for thing in things:
            pool.give_back(thing)
        for _ in range(20):  # two at a time are in use, every second
            await trio.sleep(1)
            async with pool.lease(), pool.lease():
                pass
        assert (pool.idle, shop.living) == (2, 2)
        await trio.sleep(4 - 0.1)
        assert pool.idle == 2, "nothing goes before it has been idle for so long"
        await trio.sleep(4 + 0.2)
        assert (pool.idle, shop.living, pool.leased) == (0, 0, 0)
        await trio.sleep(1_000_000)
        async with pool.lease():
            assert len(shop.made) == 11
        nursery.cancel_scope.cancel()


async def test_the_longest_idle_can_be_dropped_at_once() -> None:
    shop = Shop()
    pool: Pool[Thing] = Pool(shop.open, 3, 1, "things")
    things = [await pool.acquire() for _ in range(2)]
    for thing in things:
        pool.give_back(thing)
    assert [pool.spare(), things[0].aborted, things[1].aborted] == [True, 1, 0]
    assert [pool.spare(), pool.spare(), pool.idle] == [True, False, 0]
    async with pool.lease():
        assert len(shop.made) == 3


class PoolMachine(TrioMachine):
    """Users come, wait, open, use, break, leave and are cancelled in any order; time passes now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.lending = Lending(size=2, patience=5)

    @rule()
    def come(self) -> None:
        self.start(self.lending.use)

    @precondition(lambda self: self.lending.gates)
    @rule(refused=st.booleans())
    def open_one(self, refused: bool) -> None:
        self.do(self.lending.open_one, refused)

    @precondition(lambda self: self.lending.holding)
    @rule(which=st.integers(0, 9), broken=st.booleans())
    def finish(self, which: int, broken: bool) -> None:
        self.do(self.lending.finish, which, broken)

    @precondition(lambda self: self.lending.scopes)
    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        self.do(self.lending.cancel, which)

    @precondition(lambda self: self.lending.gates and self.lending.scopes)
    @rule(which=st.integers(0, 9))
    def cancel_in_the_moment_of_success(self, which: int) -> None:
        self.do(self.lending.cancel_in_the_moment_of_success, which)

    @precondition(lambda self: self.lending.holding and self.lending.scopes)
    @rule(who=st.integers(0, 9), which=st.integers(0, 9))
    def cancel_as_one_comes_back(self, who: int, which: int) -> None:
        self.do(self.lending.cancel_as_one_comes_back, who, which)

    @rule()
    def break_all_idle(self) -> None:
        self.do(self.lending.break_all_idle)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        self.lending.nothing_is_lost()


def test_any_history_conserves_permits() -> None:
    run_state_machine_as_test(PoolMachine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))
