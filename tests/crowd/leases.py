"""The pool under random steps and random cancellation, by a seed: what `test_pool.py` does for a while, for as long as one likes.

In: a seed and how many leases. Out: how they ended. All is one run in virtual time; after every step, when every task waits, nothing may be lost.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import trio
import trio.testing
from cancelling import FOR_EVER
from lending import Lending

CROWD = 12
"""Users at once at most."""
SETTLED = 200
"""Leases after which the world is emptied and looked at."""
REST = 20.0
"""Virtual seconds after which what the pool does not need is dropped."""


async def lend(seed: int, leases: int) -> Counter[str]:
    """Pools of one to four things, one after the other."""
    random, ends = Random(seed), Counter[str]()
    while ends.total() < leases:
        lending = Lending(random.randint(1, 4), random.randint(1, 6))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lending.pool.trim, REST)
            await _some(lending, nursery, random, min(SETTLED, leases - ends.total()))
            await _empty(lending)
            nursery.cancel_scope.cancel()
        ends += lending.ends
    return ends


async def _some(lending: Lending, users: trio.Nursery, random: Random, leases: int) -> None:
    come = 0
    while come < leases or lending.scopes:
        if come < leases and len(lending.scopes) < CROWD and random.random() < 0.45:
            come += 1
            users.start_soon(lending.use)
        else:
            random.choice(_steps(lending, random))()
        await trio.testing.wait_all_tasks_blocked()
        lending.nothing_is_lost()
        lending.shop.forget_the_dead()


def _steps(lending: Lending, random: Random) -> list[Callable[[], object]]:
    """What may happen next, the likelier the oftener."""
    who, which = random.randint(0, CROWD), random.randint(0, CROWD)
    found: list[Callable[[], object]] = [lambda: _pass(random)]
    if lending.gates:
        found += [lambda: lending.open_one(random.random() < 0.15)] * 4 + [lambda: lending.cancel_in_the_moment_of_success(who)]
    if lending.holding:
        found += [lambda: lending.finish(which, random.random() < 0.2)] * 4 + [lambda: lending.cancel_as_one_comes_back(who, which)]
    if lending.scopes:
        found.append(lambda: lending.cancel(who))
    return found + [lending.break_all_idle] * (random.random() < 0.1)


def _pass(random: Random) -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(random.choice((1, 2, 3, 30)))


async def _empty(lending: Lending) -> None:
    """Nobody is there: all permits can be had at once, and a closed pool keeps nothing."""
    pool = lending.pool
    assert (pool.leased, pool.waiting, lending.gates) == (0, 0, [])
    with trio.fail_after(FOR_EVER):
        async with trio.open_nursery() as nursery:
            for _ in range(pool.size):
                nursery.start_soon(pool.acquire)
            await trio.testing.wait_all_tasks_blocked()
            for gate in list(lending.gates):
                gate.set()
    assert pool.leased == pool.size
    pool.close()
    for thing in [thing for thing in lending.shop.made if not thing.aborted]:
        pool.give_back(thing)
    assert (pool.leased, pool.idle, lending.shop.living) == (0, 0, 0)
