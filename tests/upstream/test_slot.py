"""The slot: bounded, in order, never waiting for its consumer, and the response always arrives."""
from __future__ import annotations

import pytest
import trio
import trio.testing
from cancelling import Sword, cancel_everywhere, virtually
from dialogue import message
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.errors import SlowConsumer, UpstreamExited
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.jsonrpc import Message, Raw

NOTE = message(method="notifications/progress", params={"progress": 1})
RESPONSE = message(id=1, result={})


def notes(count: int) -> list[Message]:
    return [message(method="notifications/progress", params={"progress": number}) for number in range(count)]


async def taken(slot: Slot) -> list[Message]:
    return [item async for item in slot]


async def test_what_is_put_comes_out_in_order_and_ends_with_the_response() -> None:
    slot, sent = Slot(Raw(b"1"), 10, 1000), [*notes(3), RESPONSE]
    assert not slot.ready
    assert all(slot.put(one, 10) for one in sent)
    assert slot.ready
    assert await taken(slot) == sent
    assert slot.last
    assert await taken(slot) == []


async def test_more_than_the_count_ends_it_with_slow_consumer() -> None:
    slot, sent = Slot(Raw(b"1"), 3, 1000), notes(4)
    assert [slot.put(one, 1) for one in sent] == [True, True, True, False]
    got = []
    with pytest.raises(SlowConsumer, match=r"limits\.events, limits\.buffer"):
        async for item in slot:
            got.append(item)  # noqa: PERF401 -- what came before the failure counts
    assert got == sent[:3]


async def test_more_than_the_bytes_ends_it_too_but_a_single_message_may_be_of_any_size() -> None:
    slot = Slot(Raw(b"1"), 100, 50)
    assert slot.put(NOTE, 10_000)
    assert not slot.put(NOTE, 1)
    assert await slot.__anext__() is NOTE
    with pytest.raises(SlowConsumer):
        await slot.__anext__()
    exact = Slot(Raw(b"1"), 100, 50)
    assert exact.put(NOTE, 20)
    assert exact.put(NOTE, 30)
    assert not exact.put(NOTE, 1)


async def test_room_comes_back_as_messages_are_taken() -> None:
    slot = Slot(Raw(b"1"), 2, 50)
    for one in notes(50):
        assert slot.put(one, 25)
        assert slot.put(NOTE, 25)
        assert await slot.__anext__() is one
        assert await slot.__anext__() is NOTE
    assert not slot.ready


async def test_the_response_has_room_always() -> None:
    slot, sent = Slot(Raw(b"1"), 2, 50), notes(2)
    assert all(slot.put(one, 25) for one in sent)
    assert slot.put(RESPONSE, 10_000)
    assert await taken(slot) == [*sent, RESPONSE]


async def test_a_slot_that_failed_takes_nothing_more_so_that_no_gap_goes_unnoticed() -> None:
    slot, sent = Slot(Raw(b"1"), 2, 1000), notes(5)
    assert [slot.put(one, 1) for one in sent[:3]] == [True, True, False]
    assert await slot.__anext__() is sent[0]
    assert not slot.put(sent[3], 1), "there is room again, but one is missing"
    assert not slot.put(RESPONSE, 1)
    assert await slot.__anext__() is sent[1]
    with pytest.raises(SlowConsumer):
        await slot.__anext__()


async def test_the_first_failure_is_the_one_that_is_told() -> None:
    slot = Slot(Raw(b"1"), 2, 50)
    slot.put(NOTE, 1)
    slot.fail(UpstreamExited("first"))
    slot.fail(SlowConsumer("second"))
    assert await slot.__anext__() is NOTE
    for _ in range(2):
        with pytest.raises(UpstreamExited, match="first"):
            await slot.__anext__()


async def test_closed_it_gives_what_it_has_and_ends() -> None:
    slot, sent = Slot(None, 5, 50), notes(2)
    for one in sent:
        slot.put(one, 1)
    slot.close()
    assert await taken(slot) == sent


@pytest.mark.parametrize("how", ["put", "response", "fail", "close"])
async def test_who_waits_is_woken(autojump_clock: trio.testing.MockClock, how: str) -> None:
    slot = Slot(Raw(b"1"), 5, 50)
    heard: list[str] = []

    async def wait() -> None:
        try:
            heard.append("response" if (await slot.__anext__()).is_response else "put")
        except StopAsyncIteration:
            heard.append("close")
        except UpstreamExited:
            heard.append("fail")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(5)
        assert heard == []
        match how:
            case "put":
                slot.put(NOTE, 1)
            case "response":
                slot.put(RESPONSE, 1)
            case "fail":
                slot.fail(UpstreamExited("gone"))
            case "close":
                slot.close()
        await trio.sleep(0)
        await trio.testing.wait_all_tasks_blocked()
    assert heard == [how]


async def test_cancelled_while_waiting_it_can_be_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    slot = Slot(Raw(b"1"), 5, 50)
    with trio.move_on_after(1) as scope:
        await slot.__anext__()
    assert scope.cancelled_caught
    slot.put(RESPONSE, 1)
    assert await slot.__anext__() is RESPONSE


async def test_push_back_undoes_a_take() -> None:
    slot = Slot(Raw(b"1"), 5, 50)
    slot.put(RESPONSE, 1)
    slot.push_back(await slot.__anext__())
    assert not slot.last
    assert await taken(slot) == [RESPONSE]


async def test_the_oldest_can_make_room() -> None:
    slot, sent = Slot(None, 3, 30), notes(5)
    assert slot.drop_oldest() is None
    for one in sent:
        while slot.full(10):
            assert slot.drop_oldest() is not None
        assert slot.put(one, 10)
    assert slot.full(1)
    slot.close()
    assert await taken(slot) == sent[2:]


@given(cuts=st.lists(st.integers(0, 4), max_size=12), count=st.integers(1, 5))
@settings(deadline=None)
def test_a_consumer_sees_a_prefix_and_then_the_reason(cuts: list[int], count: int) -> None:
    """Whatever the order of putting and taking: nothing doubled, nothing left out, and an end."""

    async def main() -> None:
        slot, sent = Slot(Raw(b"1"), count, 1000), notes(sum(cuts))
        put, got, failed = 0, [], False
        for cut in cuts:
            for one in sent[put : put + cut]:
                failed = not slot.put(one, 1) or failed
            put += cut
            if slot.ready:
                got.append(await slot.__anext__())
        slot.put(RESPONSE, 1)
        try:
            got += [item async for item in slot]
        except SlowConsumer:
            assert failed
            assert got == sent[: len(got)]
        else:
            assert not failed
            assert got == [*sent, RESPONSE]

    virtually(main)


def test_cancelled_at_every_step_no_message_is_lost() -> None:
    async def scenario(sword: Sword) -> None:
        slot, sent = Slot(Raw(b"1"), 100, 1000), [*notes(6), RESPONSE]
        got: list[Message] = []

        async def put() -> None:
            for number, one in enumerate(sent):
                await trio.sleep(number % 2)
                slot.put(one, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            with sword():
                async for item in slot:
                    got.append(item)  # noqa: PERF401 -- what came before the sword fell counts
            got += await taken(slot)
        assert got == sent

    assert cancel_everywhere(scenario) > 8
