"""Admission: so many in flight, so many in the queue, each for so long, first come first served, and nobody once we drain."""
from __future__ import annotations

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from dialogue import legacy
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machine import TrioMachine
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.admission import Admission
from shadowproxy.errors import Overloaded


async def test_permits_are_given_without_waiting_while_there_are_any(autojump_clock: MockClock) -> None:
    admission = Admission(2, 0, 5)
    with legacy("x") as one, legacy("x") as two:
        assert admission.enter_nowait(one)
        await admission.enter(two)
        assert (admission.in_flight, admission.waiting, trio.current_time()) == (2, 0, 0)
        with legacy("x") as three:
            assert not admission.enter_nowait(three)
    assert admission.in_flight == 0


async def test_past_the_queue_one_is_refused_at_once(autojump_clock: MockClock) -> None:
    admission = Admission(1, 0, 5)
    with legacy("x") as one:
        await admission.enter(one)
        with pytest.raises(Overloaded, match=r"limits\.exchanges"), legacy("x") as two:
            await admission.enter(two)
        assert (trio.current_time(), admission.refused) == (0, 1)
    assert admission.in_flight == 0


async def test_who_waits_waits_so_long(autojump_clock: MockClock) -> None:
    admission = Admission(1, 10, 5)
    with legacy("x") as one:
        await admission.enter(one)
        with pytest.raises(Overloaded), legacy("x") as two:
            await admission.enter(two)
        assert (trio.current_time(), admission.waiting, admission.refused) == (5, 0, 1)
    assert admission.in_flight == 0


async def test_first_come_first_served(autojump_clock: MockClock) -> None:
    admission, served = Admission(1, 10, 100), list[int]()

    async def use(number: int) -> None:
        with legacy("x") as exchange:
            await admission.enter(exchange)
            served.append(number)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(use, number)
            await wait_all_tasks_blocked()
        with legacy("x") as late:  # the queue is full but for one, and nobody jumps it
            assert not admission.enter_nowait(late)
    assert (served, admission.in_flight, admission.refused) == (list(range(10)), 0, 0)


async def test_once_draining_nobody_enters_and_who_waits_already_is_served(autojump_clock: MockClock) -> None:
    admission = Admission(1, 10, 100)

    async def use() -> None:
        with legacy("x") as exchange:
            await admission.enter(exchange)
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        nursery.start_soon(use)
        await wait_all_tasks_blocked()
        admission.draining = True
        for enter in (admission.enter, admission.enter_nowait):
            with pytest.raises(Overloaded, match="shutting down"), legacy("x") as exchange:
                if (waiting := enter(exchange)) is not True:
                    await waiting  # type: ignore[misc]  # what `enter` gives
    assert (admission.in_flight, admission.refused, trio.current_time()) == (0, 2, 6)


def test_cancelled_anywhere_no_permit_is_lost() -> None:
    async def scenario(sword: Sword) -> None:
        admission = Admission(1, 2, 2.5)

        async def use(hold: float) -> None:
            try:
                with legacy("x") as exchange:
                    await admission.enter(exchange)
                    await trio.sleep(hold)
            except Overloaded:
                pass

        with sword():
            async with trio.open_nursery() as nursery:
                for hold in (1, 2, 1, 1):
                    nursery.start_soon(use, hold)
        assert (admission.in_flight, admission.waiting) == (0, 0)
        with legacy("x") as exchange:
            assert admission.enter_nowait(exchange)

    assert cancel_everywhere(scenario) > 4


class Machine(TrioMachine):
    """Whoever comes, leaves or is cancelled: never more than the permits are in flight, none is lost, and nobody waits while one is free."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(3, 4, 10)
        self.inside: list[trio.Event] = []
        self.scopes: list[trio.CancelScope] = []

    async def use(self) -> None:
        leave = trio.Event()
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            try:
                with legacy("x") as exchange:
                    await self.admission.enter(exchange)
                    self.inside.append(leave)
                    try:
                        await leave.wait()
                    finally:
                        self.inside.remove(leave)
            except Overloaded:
                pass
            finally:
                self.scopes.remove(scope)

    @rule()
    def come(self) -> None:
        self.start(self.use)

    @rule(which=st.integers(0, 10))
    @precondition(lambda self: self.inside)
    def leave(self, which: int) -> None:
        self.do(self.inside[which % len(self.inside)].set)

    @rule(which=st.integers(0, 10))
    @precondition(lambda self: self.scopes)
    def cancel(self, which: int) -> None:
        self.do(self.scopes[which % len(self.scopes)].cancel)

    @rule(seconds=st.sampled_from([1, 5, 11]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @invariant()
    def counts_agree(self) -> None:
        assert self.admission.in_flight == len(self.inside) <= 3
        assert self.admission.waiting == len(self.scopes) - len(self.inside) <= 4
        assert self.admission.waiting == 0 or self.admission.in_flight == 3


TestMachine = Machine.TestCase
