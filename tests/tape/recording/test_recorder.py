"""The recorder's queue and its writing: what is full, what fails, what comes back; that nothing is lost unseen, wherever it is cancelled."""
from __future__ import annotations

import gc
import logging

import pytest
import trio
from cancelling import Sword, cancel_everywhere, virtually
from dialogue import legacy, message, modern
from fakes import FakeUpstream, Feed, feeding, hang, note
from hypothesis import given
from hypothesis import strategies as st
from taping import Memory, recording, whole
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import open_house

from shadowproxy.exchange import Session
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.recording.backlog import OVERHEAD, SLICE
from shadowproxy.tape.recording.recorder import LINGER, RETRY, Recorder
from shadowproxy.tape.recording.track import Track

FRAME = OVERHEAD + 100
"""What a message of 100 bytes takes."""


def put(recorder: Recorder, count: int = 1, session: Session | None = None) -> None:
    for _ in range(count):
        recorder.backlog.note(recorder.backlog.talk(session), "s2c", "both", "notification", b'"' + b"x" * 98 + b'"')


async def written() -> None:
    await trio.sleep(10 * LINGER)


# ---------------------------------------------------- in its own time
async def test_frames_are_gathered_and_written_in_order(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder:
        put(recorder, 500)
        assert memory.writes == 0
        await trio.sleep(LINGER + 0.01)
        assert (memory.writes, [frame.n for frame in memory.frames]) == (1, list(range(1, 501)))
        put(recorder)
        await written()
        assert (memory.writes, recorder.frames, recorder.dropped) == (2, 501, 0)
        assert recorder.statistics() == {"tape_frames": 501, "tape_dropped": 0, "tape_waiting_bytes": 0}


async def test_work_is_done_in_slices_that_let_others_run(autojump_clock: MockClock) -> None:
    memory, others = Memory(), 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with recording(memory) as recorder, trio.open_nursery() as nursery:
        put(recorder, 600)  # less than is written at once
        await wait_all_tasks_blocked()
        nursery.start_soon(other)
        autojump_clock.jump(2 * LINGER)  # by hand: as long as the other one runs, time stands
        while not memory.frames:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert others >= 600 // SLICE
    assert whole(memory.frames) == 0


async def test_leaving_writes_what_waits(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder:
        put(recorder, 120)
    assert len(memory.frames) == 120


async def test_the_thread_is_a_real_one() -> None:
    threads: list[int] = []

    class Noting(Memory):
        def write(self, track: Track, data: bytes) -> None:
            super().write(track, data)
            threads.append(threading_id())

    def threading_id() -> int:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        return len(threads)

    memory = Noting()
    async with recording(memory, thread=trio.to_thread.run_sync) as recorder:
        put(recorder, 3)
        with trio.fail_after(20):
            while not threads:
                await trio.sleep(0.01)
    assert len(memory.frames) == 3


# ---------------------------------------------------- full
async def test_a_full_queue_drops_counts_and_marks(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    async with recording(memory, buffer=10 * FRAME) as recorder:
        put(recorder, 25)
        assert recorder.dropped == 15
        await written()
        put(recorder)
        await written()
        assert [(frame.kind, frame.n, frame.lost) for frame in memory.frames[9:]] == [("notification", 10, None), ("gap", 11, 15), ("notification", 26, None)]
        assert (whole(memory.frames), recorder.frames, recorder.statistics()["tape_waiting_bytes"]) == (15, 12, 0)
    assert "frames were dropped" in caplog.text


async def test_losses_at_the_very_end_are_marked(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory, buffer=2 * FRAME) as recorder:
        put(recorder, 7)
    assert [(frame.kind, frame.n, frame.lost) for frame in memory.frames] == [("notification", 1, None), ("notification", 2, None), ("gap", 3, 5)]


async def test_what_is_being_written_still_takes_its_place(autojump_clock: MockClock) -> None:
    """Else a disk that hangs would let twice the buffer wait, and a third time that in the thread."""
    release = trio.Event()

    async def slow(function: object, *args: object) -> object:
        await release.wait()
        assert callable(function)
        return function(*args)

    memory = Memory()
    async with recording(memory, buffer=10 * FRAME, thread=slow) as recorder:
        put(recorder, 10)
        await written()
        put(recorder, 5)
        assert recorder.dropped == 5
        release.set()
        await written()
        put(recorder, 1)
    assert whole(memory.frames) == 5


async def test_a_message_larger_than_the_buffer_is_taken_when_nothing_else_waits(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory, buffer=10) as recorder:
        put(recorder, 2)
        await written()
        put(recorder)
    assert [frame.kind for frame in memory.frames] == ["notification", "gap", "notification"]


@pytest.mark.parametrize("buffer", [FRAME, 3 * FRAME])
async def test_a_complete_tape_lets_the_traffic_wait_and_loses_nothing(autojump_clock: MockClock, buffer: int) -> None:
    memory = Memory()
    feed = Feed(*[note(progress=number) for number in range(50)], message(id=1, result={}), ended=True)
    async with recording(memory, durability="complete", buffer=buffer) as recorder, open_house(FakeUpstream(feeding(feed)), recorder.around(())) as house:
        started, count = trio.current_time(), 0
        events = await house.connect().stream(modern("x"))
        while await events.message() is not None:
            count += 1
        assert (count, recorder.dropped) == (51, 0)
        assert trio.current_time() - started > 10 * LINGER  # it did wait
    assert (len(memory.frames), whole(memory.frames)) == (52, 0)


async def test_everybody_who_waits_for_room_gets_it(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory, durability="complete", buffer=1) as recorder:
        put(recorder)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(recorder.room)


async def test_who_gives_up_while_waiting_for_room_has_cancelled(autojump_clock: MockClock) -> None:
    memory = Memory()
    memory.full = True
    async with recording(memory, durability="complete", buffer=1) as recorder, open_house(FakeUpstream(), recorder.around(())) as house:
        client = house.connect()
        with trio.move_on_after(1):
            await client.post(modern("x"))
        client.leave()
        await wait_all_tasks_blocked()
        memory.full = False
    assert memory.told == ["> request x #1 id=1 POST", "> cancelled #1 re=1"]


# ---------------------------------------------------- a disk that fails, and comes back
async def test_what_a_full_disk_refused_is_a_gap_once_there_is_room(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    memory, session = Memory(), Session(b"s")
    async with recording(memory, per_session=True) as recorder:
        put(recorder, 3)
        await written()
        memory.full = True
        for _ in range(3):
            put(recorder, 4)
            put(recorder, 2, session)
            await written()
        memory.full = False
        put(recorder, 1)
        await written()
        assert [(frame.kind, frame.n, frame.lost) for frame in memory.frames] == [
            ("notification", 1, None), ("notification", 2, None), ("notification", 3, None), ("gap", 4, 12), ("notification", 16, None)]  # fmt: skip
        assert recorder.dropped == 18
    assert "No space left on device" in (memory.frames[3].text or "")
    assert [(frame.kind, frame.n, frame.lost) for frame in memory.tapes["s1"]] == [("gap", 1, 6)]  # told at the end at the latest
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["a tape cannot be written", "tapes can be written again"]


async def test_a_disk_that_stays_full_costs_the_tape_and_not_the_traffic(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    memory.full = True
    async with recording(memory) as recorder, open_house(FakeUpstream(), recorder.around(())) as house:
        for _ in range(20):
            assert (await house.connect().post(modern("x"))).status == 200
            await trio.sleep(1)
        assert recorder.dropped >= 38
    assert memory.frames == []
    assert "the end of a tape could not be written" in caplog.text


async def test_a_complete_tape_tries_again_until_it_is_written(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    memory.full = True
    async with recording(memory, durability="complete") as recorder:
        put(recorder, 5)
        await trio.sleep(5 * RETRY)
        put(recorder, 5)
        memory.full = False
        await trio.sleep(2 * RETRY)
        assert [frame.n for frame in memory.frames] == list(range(1, 11))
        assert recorder.statistics() == {"tape_frames": 10, "tape_dropped": 0, "tape_waiting_bytes": 0}


async def test_a_rule_of_the_user_that_fails_costs_a_frame_and_shows_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def needs_look(self, data: bytes) -> bool:
            return True

        def frame(self, frame: Frame) -> Frame:
            if frame.n == 2:
                raise KeyError("a bug")
            return frame

    memory = Memory()
    async with recording(memory, Failing()) as recorder:
        put(recorder, 3)
    assert [(frame.kind, frame.n, frame.message is None) for frame in memory.frames] == [("notification", 1, False), ("gap", 2, True), ("notification", 3, False)]
    assert recorder.dropped == 1


async def test_a_rule_of_the_user_that_always_fails_does_not_touch_the_traffic(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def needs_look(self, data: bytes) -> bool:
            return True

        def frame(self, frame: Frame) -> Frame:
            raise KeyError("a bug")

    memory = Memory()
    async with recording(memory, Failing()) as recorder, open_house(FakeUpstream(), recorder.around(())) as house:
        assert (await house.connect().post(modern("x"))).status == 200
    assert [(frame.kind, frame.http, frame.message) for frame in memory.frames] == [("gap", None, None)] * 2


# ---------------------------------------------------- any interleaving
OPERATIONS = st.lists(st.one_of(
    st.tuples(st.just("put"), st.integers(0, 2), st.integers(1, 30)), st.tuples(st.just("wait"), st.sampled_from([0.0, LINGER, 0.3]), st.just(0)),
    st.tuples(st.just("full"), st.booleans(), st.just(0)), st.tuples(st.just("slow"), st.sampled_from([0.0, 0.2, 1.0]), st.just(0))), max_size=25)  # fmt: skip


@given(OPERATIONS, st.sampled_from([1, 5 * FRAME, 40 * FRAME]), st.booleans())
def test_any_interleaving_of_traffic_and_a_bad_disk_gives_whole_tapes(operations: list[tuple[str, float, int]], buffer: int, complete: bool) -> None:
    """Every hole in the numbers is a gap's, in order, on every tape; `complete` has no hole."""
    memory, delay = Memory(), 0.0

    async def thread(function: object, *args: object) -> object:
        await trio.sleep(delay)
        assert callable(function)
        return function(*args)

    async def main() -> None:
        nonlocal delay
        sessions = [None, Session(b"a"), Session(b"b")]
        async with recording(memory, per_session=True, buffer=buffer, durability="complete" if complete else "lossy", thread=thread) as recorder:
            for what, value, count in operations:
                match what:
                    case "put":
                        put(recorder, count, sessions[int(value)])
                    case "wait":
                        await trio.sleep(value)
                    case "full":
                        memory.full = bool(value)
                    case "slow":
                        delay = value
            memory.full = False
        counts = {"a" if name else "": frames for name, frames in memory.tapes.items()}
        assert set(counts) <= {"", "a"}
        lost = sum(whole(frames) for frames in memory.tapes.values())
        assert lost == recorder.dropped
        assert not complete or lost == 0
        total = sum(count for what, _, count in operations if what == "put")
        assert sum(frame.kind != "gap" for frames in memory.tapes.values() for frame in frames) == total - lost

    logging.disable(logging.CRITICAL)
    try:
        virtually(main)
    finally:
        logging.disable(logging.NOTSET)


# ---------------------------------------------------- cancelled at every step
@pytest.mark.parametrize("durability", ["lossy", "complete"])
def test_leaving_at_any_step_writes_what_was_noted(durability: str) -> None:
    async def scenario(sword: Sword) -> None:
        memory = Memory()
        with sword():
            async with recording(memory, durability=durability, buffer=30 * FRAME) as recorder:
                for count in (1, 120, 3):
                    put(recorder, count if durability == "lossy" else min(count, 20))
                    await written()
        if memory.closed:
            noted = max((frame.n + (frame.lost or 1) - 1 for frame in memory.frames), default=0)
            assert whole(memory.frames) == recorder.dropped
            assert recorder.backlog._everybody.track.n == noted

    assert cancel_everywhere(scenario) > 10


def test_an_exchange_that_is_cancelled_at_any_step_leaves_a_tape_that_makes_sense() -> None:
    async def scenario(sword: Sword) -> None:
        memory = Memory()
        feed = Feed(note(), note(), message(id=1, result={}), ended=True)
        async with recording(memory) as recorder, open_house(FakeUpstream(feeding(feed)), recorder.around(())) as house:
            client = house.connect()
            with sword():
                events = await client.stream(modern("x"))
                while await events.message():
                    pass
            client.leave()
            await trio.sleep(1)
            assert house.upstream.open == set()
        ends = [frame.kind for frame in memory.frames if frame.kind in ("response", "cancelled", "refusal", "close")]
        assert len(ends) == len([frame for frame in memory.frames if frame.kind == "request"])
        assert whole(memory.frames) == 0

    assert cancel_everywhere(scenario) > 10


# ---------------------------------------------------- no cycles
@pytest.mark.parametrize("kind", ["whole", "streamed", "refused", "two legs"])
async def test_a_recorded_exchange_leaves_no_reference_cycle(autojump_clock: MockClock, kind: str) -> None:
    class Idle:
        async def call(self, next: object, exchange: object) -> object:
            assert callable(next)
            return await next(exchange)

    memory, upstream = Memory(), FakeUpstream()
    async with recording(memory) as recorder, open_house(upstream, recorder.around([Idle()] if kind == "two legs" else [])) as house:  # type: ignore[list-item]
        client = house.connect()

        async def once() -> None:
            if kind in ("streamed", "two legs"):
                upstream.on_call = feeding(Feed(note(), message(id="q", method="roots/list"), message(id=1, result={}), ended=True))
            fields = {"mcp_session_id": "unknown"} if kind == "refused" else {}
            assert (await client.post(legacy("x"), origin="http://localhost", **fields)).status == (404 if fields else 200)
            upstream.calls.clear()
            await written()
            memory.tapes.clear()

        await once()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await once()
            assert gc.collect() == 0
        finally:
            gc.enable()


async def test_a_call_that_never_ends_is_on_tape_all_the_same(autojump_clock: MockClock) -> None:
    memory = Memory()
    async with recording(memory) as recorder, open_house(FakeUpstream(hang), recorder.around(())) as house:
        with trio.move_on_after(5):
            await house.connect().post(modern("x"))
        assert memory.told == ["> request x #1 id=1 POST"]
