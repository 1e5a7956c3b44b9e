"""Full duplex and time: the server's questions wait for their answers, standing streams for what caused their frames, frames for their moment."""
from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import trio
from cancelling import Sword, cancel_everywhere
from dialogue import Json, plain
from replays import Caller, asked, each, events_of, handshake, opened, replaying, tool
from tapes import happening, notification, request, response

from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Session
from shadowproxy.tape.frame import Frame, Sse
from shadowproxy.tape.replaying.replay import TapeUpstream
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

ASK: Json = {"message": "who?"}
CHANGED = "notifications/tools/list_changed"


def with_question(n: int, stream: str, id: int = 7) -> list[Frame]:
    """A call (frame n) in the course of which the server asks, on `stream`, and answers when it was answered."""
    return [
        request(n, "tools/call", {"n": n}, id=n, session="s1"),
        request(n + 1, "elicitation/create", ASK, id=id, dir="s2c", session="s1", exchange=n, stream=stream),
        response(n + 2, n + 1, id=id, dir="c2s", session="s1", exchange=None, result={"action": "accept"}),
        response(n + 3, n, id=n, session="s1", result={"n": n}, stream=f"x{n}"),
    ]  # fmt: skip


class Told:
    """A call under way, and what its stream has brought so far."""

    def __init__(self, client: Caller, tape: TapeUpstream, params: Json) -> None:
        self._client, self._tape, self._params = client, tape, params
        self.heard: list[Json] = []
        self.when: list[float] = []

    async def run(self) -> None:
        with self._client.exchange("tools/call", self._params) as exchange:
            async for item in each(await self._tape.call(exchange)):
                assert isinstance(item, Message)
                self.heard.append(plain(item))
                self.when.append(trio.current_time())


async def test_the_response_waits_for_the_client_s_answer(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, [*handshake(), *with_question(4, "x4")]) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        call = Told(client, tape, {"n": 4})
        nursery.start_soon(call.run)
        await trio.sleep(100)
        assert [(one["method"], one["id"]) for one in call.heard] == [("elicitation/create", 7)]
        await client.answer(8, {})
        await trio.sleep(100)
        assert len(call.heard) == 1
        await client.answer(7, {"action": "accept"})
        await trio.sleep(1)
        assert call.heard[1]["result"] == {"n": 4}


async def test_two_questions_in_flight_never_share_an_id(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """The same recorded exchange twice at once, its question with it: each answer goes to its own."""
    async with replaying(tmp_path, [*handshake(), *with_question(4, "x4")], repeats="all") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        calls = [Told(client, tape, {"n": 4}), Told(client, tape, {"n": 4})]
        for call in calls:
            nursery.start_soon(call.run)
            await trio.sleep(1)
        first, second = (call.heard[0]["id"] for call in calls)
        assert (first, second) == (7, "tape-1")
        await client.answer(second, {})
        await trio.sleep(1)
        assert [len(call.heard) for call in calls] == [1, 2]
        await client.answer(first, {})
        await trio.sleep(1)
        assert [len(call.heard) for call in calls] == [2, 2]


async def test_a_question_that_the_server_takes_back(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = with_question(4, "x4")
    frames[2] = notification(6, "notifications/cancelled", {"requestId": 7}, exchange=4, stream="x4", session="s1")
    async with replaying(tmp_path, [*handshake(), *frames], repeats="all") as tape:
        client = Caller(tape)
        await client.greet()
        assert [one.get("params") for one in await client.call("tools/call", {"n": 4})] == [ASK, {"requestId": 7}, None]


# ---------------------------------------------------- standing streams
async def test_what_a_stream_tells_comes_after_its_cause_and_before_what_followed(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = [
        *handshake(), opened(4), request(5, "tools/call", {"n": 5}, id=5, session="s1"),
        notification(6, CHANGED, exchange=4, stream="g4", session="s1"), response(7, 5, id=5, session="s1"),
        *tool(8, {"n": 8}, {}), notification(10, CHANGED, {"after": 9}, exchange=4, stream="g4", session="s1"),
    ]  # fmt: skip
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        scope = await nursery.start(client.listen)
        await trio.sleep(100)
        assert client.heard == []
        await client.call("tools/call", {"n": 5})
        assert len(client.heard) == 1, "the response does not overtake what came before it"
        await trio.sleep(100)
        assert len(client.heard) == 1
        await client.call("tools/call", {"n": 8})
        await trio.sleep(1)
        assert len(client.heard) == 2
        scope.cancel()


async def test_a_stream_goes_on_where_a_client_left_it_and_the_newer_listener_has_it(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = [*handshake(), opened(4)]
    for n in (5, 8):
        frames += [*tool(n, {"n": n}, {}), notification(n + 2, CHANGED, {"n": n}, exchange=4, stream="g4", session="s1")]
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", {"n": 5})
        await trio.sleep(1)
        await nursery.start(client.listen)
        await trio.sleep(1)
        assert len(nursery.child_tasks) == 1, "the older one ended"
        await client.call("tools/call", {"n": 8})
        await trio.sleep(1)
        assert [one["params"]["n"] for one in client.heard] == [5, 8]
        nursery.cancel_scope.cancel()


async def test_a_question_of_a_stream_belongs_to_the_exchange_under_way(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, [*handshake(), opened(4), *with_question(5, "g4")]) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        call = Told(client, tape, {"n": 5})
        nursery.start_soon(call.run)
        await trio.sleep(100)
        assert ([one["id"] for one in client.heard], call.heard) == ([7], [])
        await client.answer(7, {})
        await trio.sleep(1)
        assert len(call.heard) == 1
        nursery.cancel_scope.cancel()


async def test_a_question_of_a_stream_that_nobody_opened_comes_with_its_exchange(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, [*handshake(), opened(4), *with_question(5, "g4")]) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        call = Told(client, tape, {"n": 5})
        nursery.start_soon(call.run)
        await trio.sleep(100)
        assert [one["id"] for one in call.heard] == [7]
        await client.answer(7, {})
        await trio.sleep(1)
        assert len(call.heard) == 2


async def test_an_exchange_that_its_client_left_holds_nobody_up(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """The stream's frame came after the response, which this client did not wait for."""
    frames = [*handshake(), opened(4), *tool(5, {"n": 5}, {}), notification(7, CHANGED, exchange=4, stream="g4", session="s1")]
    async with replaying(tmp_path, frames, timing="scale:1000") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        with trio.move_on_after(1):
            await client.call("tools/call", {"n": 5})
        await trio.sleep(200)
        assert len(client.heard) == 1
        nursery.cancel_scope.cancel()


# ---------------------------------------------------- resumption
def closed_and_resumed() -> list[Frame]:
    """The server closes the stream of call 4 after a priming event; the client resumes with GET stream 7."""
    return [
        *handshake(), request(4, "tools/call", {"n": 4}, id=4, session="s1"),
        happening(5, "event", exchange=4, stream="x4", session="s1", sse=Sse("e1", None, 10)), happening(6, "close", exchange=4, stream="x4", session="s1"),
        opened(7, last_event_id="e1"), notification(8, "notifications/message", {"data": "x"}, exchange=7, stream="g7", session="s1", sse=Sse("e2")),
        response(9, 7, id=4, session="s1", exchange=7, stream="g7", sse=Sse("e3"), result={"n": 4}), happening(10, "close", exchange=7, stream="g7", session="s1"),
    ]  # fmt: skip


async def test_a_stream_is_closed_and_resumed_as_it_was(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, closed_and_resumed()) as tape:
        client = Caller(tape)
        await client.greet()
        assert await events_of(tape, client.exchange("tools/call", {"n": 4}, "mine")) == [Event(b"", b"e1", b"", 10)]
        await client.listen(b"e1")
        assert [one.get("method") or one["id"] for one in client.heard] == ["notifications/message", "mine"]


async def test_who_has_no_http_gets_it_on_one_stream(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, closed_and_resumed()) as tape:
        client = Caller(tape, http=False)
        await client.greet()
        log, answer = await client.call("tools/call", {"n": 4}, "mine")
        assert (log["method"], answer["id"], answer["result"]) == ("notifications/message", "mine", {"n": 4})


async def test_who_has_no_http_is_told_where_nothing_resumed_it(tmp_path: Path) -> None:
    async with replaying(tmp_path, closed_and_resumed()[:6]) as tape:
        client = Caller(tape, http=False)
        await client.greet()
        with pytest.raises(UpstreamBroken, match="none that resumed it"):
            await client.call("tools/call", {"n": 4})


# ---------------------------------------------------- time
def timed() -> list[Frame]:
    return [
        *handshake(), request(4, "tools/call", {}, id=4, session="s1", t=10),
        notification(5, "notifications/message", {}, exchange=4, stream="x4", session="s1", t=12), response(6, 4, id=4, session="s1", stream="x4", t=3612),
    ]  # fmt: skip


@pytest.mark.parametrize(("timing", "expected"), [("none", [0, 0]), ("recorded", [2, 3602]), ("scale:0.5", [1, 1801]), ("cap:5", [2, 7])])
async def test_time_is_exact_and_instant(tmp_path: Path, autojump_clock: trio.abc.Clock, timing: str, expected: list[float]) -> None:
    async with replaying(tmp_path, timed(), timing=timing) as tape:
        client = Caller(tape)
        await client.greet()
        begun = trio.current_time()
        call = Told(client, tape, {})
        await call.run()
        assert [when - begun for when in call.when] == pytest.approx(expected, abs=1e-9)


async def test_time_counts_from_the_client_s_answer(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """A person who takes an hour to answer does not make the server's work after it any shorter."""
    async with replaying(tmp_path, [*handshake(), *with_question(4, "x4")], timing="recorded") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        call = Told(client, tape, {"n": 4})
        nursery.start_soon(call.run)
        await trio.sleep(3600)
        answered = trio.current_time()
        await client.answer(7, {})
        await trio.sleep(10)
        assert call.when[1] - answered == pytest.approx(0.1)


async def test_a_stream_s_frame_counts_from_its_cause(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = [*handshake(), opened(4), *asked(5, "tools/call", {}, {}), notification(7, CHANGED, exchange=4, stream="g4", session="s1", t=2.6)]
    async with replaying(tmp_path, frames, timing="recorded") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await trio.sleep(500)
        await client.call("tools/call", {})
        await trio.sleep(1.99)
        assert client.heard == []
        await trio.sleep(0.02)
        assert len(client.heard) == 1
        nursery.cancel_scope.cancel()


def test_wherever_a_client_leaves_nothing_is_held_and_the_next_one_is_served() -> None:
    """A call with a question, and a listener, cancelled at every step of it."""

    async def scenario(sword: Sword) -> None:
        with tempfile.TemporaryDirectory() as folder:
            frames = [*handshake(), opened(4), *with_question(5, "g4"), notification(9, CHANGED, exchange=4, stream="g4", session="s1")]
            async with replaying(Path(folder), frames, timing="recorded", repeats="all") as tape, trio.open_nursery() as nursery:
                client = Caller(tape)
                await client.greet()
                with sword():
                    async with trio.open_nursery() as calls:
                        await calls.start(client.listen)
                        calls.start_soon(Told(client, tape, {"n": 5}).run)
                        await trio.sleep(10)
                        await client.answer(7, {})
                        await trio.sleep(10)
                        calls.cancel_scope.cancel()
                assert client.session is not None
                replayed = tape._sessions[client.session]
                assert (list(replayed.players), replayed.tokens) == ([], {})
                assert all(asker.number is not None for asker, _ in replayed.questions.values()), "only a listener may come again"
                again = Told(client, tape, {"n": 5})
                nursery.start_soon(again.run)
                await trio.sleep(10)
                await client.answer(7, {})
                await trio.sleep(10)
                assert again.heard[-1]["result"] == {"n": 5}

    assert cancel_everywhere(scenario) > 10


async def test_leaving_gives_everything_back(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, [*handshake(), *with_question(4, "x4")]) as tape:
        client = Caller(tape)
        await client.greet()
        with trio.move_on_after(5):
            await client.call("tools/call", {"n": 4})
        session = client.session
        assert isinstance(session, Session)
        replayed = tape._sessions[session]
        assert not replayed.players
        assert not replayed.questions
        session.end()
        assert not tape._sessions
