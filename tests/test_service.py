"""A background service outlives its users: the body is cancelled first, and the service only when the body has left."""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.errors import UpstreamBroken
from shadowproxy.service import AsItself, Starting, first_of, running


class Service:
    """Runs until cancelled, and takes its time about its clean-up."""

    def __init__(self) -> None:
        self.alive = False
        self.runs = 0

    async def run(self) -> None:
        self.alive, self.runs = True, self.runs + 1
        try:
            await trio.sleep_forever()
        finally:
            self.alive = False


async def test_it_runs_while_the_body_does(autojump_clock: MockClock) -> None:
    one, other = Service(), Service()
    async with running(one.run, other.run):
        await wait_all_tasks_blocked()
        assert one.alive
        assert other.alive
    assert not one.alive
    assert not other.alive


async def test_a_cancellation_from_outside_reaches_the_body_first(autojump_clock: MockClock) -> None:
    service, seen = Service(), list[bool]()
    with trio.move_on_after(5):
        async with running(service.run):
            try:
                await trio.sleep_forever()
            finally:
                seen.append(service.alive)
                with trio.move_on_after(3, shield=True):
                    await trio.sleep_forever()
                seen.append(service.alive)
    assert (seen, service.alive, trio.current_time()) == ([True, True], False, 8)


async def test_a_body_that_raises_ends_the_service(autojump_clock: MockClock) -> None:
    service = Service()
    with pytest.RaisesGroup(RuntimeError):
        async with running(service.run):
            await wait_all_tasks_blocked()
            raise RuntimeError("in the body")
    assert not service.alive


async def test_a_service_that_fails_takes_the_body_and_the_others_down(autojump_clock: MockClock) -> None:
    other = Service()

    async def failing() -> None:
        await trio.sleep(3)
        raise RuntimeError("in the service")

    with pytest.RaisesGroup(RuntimeError):
        async with running(failing, other.run):
            await trio.sleep_forever()
    assert (other.alive, trio.current_time()) == (False, 3)


async def test_a_service_that_ends_by_itself_is_no_failure(autojump_clock: MockClock) -> None:
    async with running(trio.lowlevel.checkpoint):
        await trio.sleep(3)
    assert trio.current_time() == 3


async def test_tasks_of_the_body_may_live_beside_it(autojump_clock: MockClock) -> None:
    service, guest = Service(), Service()
    async with running(service.run) as nursery:
        nursery.start_soon(guest.run)
        await wait_all_tasks_blocked()
        assert guest.alive
    assert not guest.alive


def test_cancelled_anywhere_the_service_has_ended() -> None:
    async def scenario(sword: Sword) -> None:
        service, left = Service(), list[bool]()
        with sword():
            async with running(service.run):
                try:
                    await trio.sleep(1)
                finally:
                    left.append(service.alive)
        assert not service.alive
        assert left in ([], [True], [False])

    assert cancel_everywhere(scenario) >= 3


# ---------------------------------------------------- starting
async def test_everybody_who_waits_learns_of_the_start(autojump_clock: MockClock) -> None:
    starting = Starting()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(starting.wait)
        await wait_all_tasks_blocked()
        starting.started()
    starting.fail(UpstreamBroken("too late"))
    await starting.wait()


async def test_everybody_who_waits_learns_of_the_failure(autojump_clock: MockClock) -> None:
    starting = Starting()
    starting.fail(UpstreamBroken("first"))
    starting.fail(UpstreamBroken("second"))
    starting.started()
    for _ in range(2):
        with pytest.raises(UpstreamBroken, match="first"):
            await starting.wait()


def test_the_first_bare_error_of_a_group() -> None:
    error = UpstreamBroken("inside")
    assert first_of(ExceptionGroup("", [ExceptionGroup("", [error, ValueError()]), KeyError()])) is error


# ---------------------------------------------------- a user's block
@asynccontextmanager
async def rooms(*services: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Several nurseries round a user's block, as a proxy has them."""
    with AsItself() as user:
        async with running(*services), running(), trio.open_nursery() as nursery:
            with user.block():
                yield
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError("one"), OSError("two")]),
                                   ExceptionGroup("mine", [ExceptionGroup("within", [ValueError("one")])])], ids=repr)  # fmt: skip
async def test_what_a_users_block_raises_arrives_as_itself(autojump_clock: MockClock, error: BaseException) -> None:
    service, context = Service(), OSError("what it was raised upon")
    error.__context__ = context
    with pytest.raises(type(error)) as caught:
        async with rooms(service.run):
            await wait_all_tasks_blocked()
            raise error
    assert (caught.value, error.__context__, service.alive) == (error, context, False)
    assert caught.value is error


async def test_it_stays_in_its_group_beside_another_error(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the service")

    with pytest.RaisesGroup(OSError, ValueError, flatten_subgroups=True):
        async with rooms(fails):
            await wait_all_tasks_blocked()
            raise ValueError("mine")


async def test_an_error_of_a_service_is_none_of_the_users(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        raise OSError("the service")

    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with rooms(fails):
            await trio.sleep_forever()


async def test_a_cancellation_of_the_users_passes_through(autojump_clock: MockClock) -> None:
    service = Service()
    with trio.move_on_after(5) as scope:
        async with rooms(service.run):
            await trio.sleep_forever()
    assert (scope.cancelled_caught, service.alive, trio.current_time()) == (True, False, 5)
    with trio.CancelScope() as scope:
        async with rooms(service.run):
            scope.cancel()
    assert not service.alive


async def test_a_block_that_is_left_in_peace_raises_nothing(autojump_clock: MockClock) -> None:
    service = Service()
    async with rooms(service.run):
        await wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="its own affair"):
            raise ValueError("its own affair")
    assert not service.alive
