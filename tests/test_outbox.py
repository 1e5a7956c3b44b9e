"""The outbox: whole lines, in order, batched for the one writer, bounded, and nobody waits on it for ever."""
from __future__ import annotations

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.outbox import BOUND, Outbox

BIG = b"x" * (BOUND + 1)


async def test_what_is_queued_is_taken_together_and_in_order(autojump_clock: MockClock) -> None:
    outbox = Outbox()
    await outbox.put(b"one\n")
    outbox.put_nowait(b"two\n")
    assert outbox.size == 8
    assert await outbox.take() == b"one\ntwo\n"
    assert outbox.size == 8  # taken is not written
    outbox.written(8)
    assert outbox.size == 0


async def test_the_writer_waits_for_something_to_write(autojump_clock: MockClock) -> None:
    outbox, taken = Outbox(), list[bytes]()

    async def write() -> None:
        taken.append(await outbox.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        outbox.put_nowait(b"one\n")
        outbox.put_nowait(b"two\n")
    assert taken == [b"one\ntwo\n"]


async def test_past_the_bound_put_waits_until_enough_is_written(autojump_clock: MockClock) -> None:
    outbox, put = Outbox(), list[int]()

    async def fill(number: int) -> None:
        await outbox.put(b"x" * BOUND)
        put.append(number)

    async with trio.open_nursery() as nursery:
        await outbox.put(BIG)  # a single one may be of any size
        for number in range(3):
            nursery.start_soon(fill, number)
        await wait_all_tasks_blocked()
        assert put == []
        for done in (2, 3):  # the second still fits: the bound is reached by then, not passed
            outbox.written(len(await outbox.take()))
            await wait_all_tasks_blocked()
            assert (len(put), outbox.size <= 2 * BOUND) == (done, True)


async def test_clean_up_never_waits(autojump_clock: MockClock) -> None:
    outbox = Outbox()
    outbox.put_nowait(BIG)
    outbox.put_nowait(b"last words\n")
    assert await outbox.take() == BIG + b"last words\n"


@pytest.mark.parametrize("wait", ["room", "flushed"])
async def test_who_waits_goes_on_when_all_is_written(autojump_clock: MockClock, wait: str) -> None:
    outbox = Outbox()
    outbox.put_nowait(BIG)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(getattr(outbox, wait))
        await wait_all_tasks_blocked()
        taken = await outbox.take()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        outbox.written(len(taken))
    await getattr(outbox, wait)()


@pytest.mark.parametrize("wait", ["room", "flushed"])
async def test_closing_lets_everybody_go_and_drops_what_comes(autojump_clock: MockClock, wait: str) -> None:
    outbox = Outbox()
    outbox.put_nowait(BIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(getattr(outbox, wait))
        await wait_all_tasks_blocked()
        outbox.close()
    await outbox.put(BIG)
    await outbox.put(BIG)
    await outbox.flushed()
    assert outbox.size == 0
    outbox.written(7)
    assert outbox.size == 0


def test_cancelled_anywhere_lines_stay_whole_and_each_is_there_once() -> None:
    async def scenario(sword: Sword) -> None:
        outbox, written, put = Outbox(), bytearray(), list[bytes]()

        async def say(line: bytes) -> None:
            await outbox.put(line)
            put.append(line)

        async def write() -> None:
            while True:
                data = await outbox.take()
                await trio.sleep(1)
                written.extend(data)
                outbox.written(len(data))

        async with trio.open_nursery() as writing:
            writing.start_soon(write)
            with sword():
                async with trio.open_nursery() as saying:
                    outbox.put_nowait(BIG + b"\n")
                    for number in range(5):
                        saying.start_soon(say, b"%d\n" % number)
            await outbox.flushed()
            writing.cancel_scope.cancel()
        assert sorted(bytes(written).splitlines(keepends=True)) == sorted([BIG + b"\n", *put])

    assert cancel_everywhere(scenario) > 5


async def test_who_waits_for_room_gets_it_in_turn(autojump_clock: MockClock) -> None:
    """However often: Trio shuffles those that become ready together."""
    for _ in range(10):
        outbox = Outbox()
        outbox.put_nowait(BIG)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(outbox.put, b"%d\n" % number)
                await wait_all_tasks_blocked()
            outbox.written(len(await outbox.take()))
            await outbox.put(b"last\n")
        assert await outbox.take() == b"".join(b"%d\n" % number for number in range(20)) + b"last\n"


async def test_who_gives_up_waiting_lets_the_others_by(autojump_clock: MockClock) -> None:
    outbox = Outbox()
    outbox.put_nowait(BIG)
    async with trio.open_nursery() as nursery:
        for seconds in (1, 2, 1000):
            nursery.start_soon(_put_within, outbox, seconds)
        await trio.sleep(5)
        outbox.written(len(await outbox.take()))
    assert await outbox.take() == b"1000\n"
    await outbox.put(b"x\n")
    assert await outbox.take() == b"x\n"


async def _put_within(outbox: Outbox, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await outbox.put(b"%d\n" % seconds)
