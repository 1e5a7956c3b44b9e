"""The stdio downstream: lines in, lines out, whatever the lines are, in both eras, and everything given back at the end."""
from __future__ import annotations

from functools import cache
from itertools import pairwise
from pipes import Pipe, open_pipe

import pytest
import trio
from cancelling import Sword, cancel_everywhere, virtually
from dialogue import NO_ID, legacy, message, modern
from fakes import FakeUpstream, Feed, after, answer_to, failing, feeding, hang, note, result_of
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import Overloaded, UpstreamAnswered, UpstreamExited
from shadowproxy.exchange import Exchange, Reply

ERAS = pytest.mark.parametrize("exchange", [legacy("x", id="a"), modern("x", id="a")], ids=["legacy", "modern"])
INITIALIZE = legacy("initialize", {"protocolVersion": "2025-11-25"}, id=0)
INITIALIZED = legacy("notifications/initialized", id=NO_ID)


# ---------------------------------------------------- one message
@ERAS
async def test_a_line_is_answered_by_a_line(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(exchange)
        assert await pipe.hear() == {"jsonrpc": "2.0", "id": "a", "result": {"of": "x"}}
        (asked,) = pipe.upstream.calls
        assert (asked.era, asked.headers, asked.session is None) == (exchange.era, None, exchange.era == "modern")
        assert (pipe.upstream.open, pipe.server.exchanges, pipe.gateway.admission.in_flight) == (set(), 0, 0)


@pytest.mark.parametrize("id", ["1", '"1"', '""', "-5", "9007199254740993", '"\\u00e9"', '"a\\\\b"'])
async def test_ids_come_back_byte_for_byte(autojump_clock: MockClock, id: str) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        for call in (pipe.upstream.on_call, failing(Overloaded("full"))):
            pipe.upstream.on_call = call
            await pipe.say(b'{"jsonrpc":"2.0","method":"x","id":%b}\n' % id.encode())
            assert b'"id":%b,' % id.encode() in await pipe.line()


async def test_answers_come_as_they_are_ready(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        await trio.sleep(float(bytes(exchange.request.params()["wait"])))
        return answer_to(exchange)

    async with open_pipe(FakeUpstream(call)) as pipe:
        await pipe.say(*(legacy("x", {"wait": wait}, id=wait) for wait in (3, 1, 2)))
        assert [(await pipe.hear())["id"] for _ in range(3)] == [1, 2, 3]


async def test_messages_before_the_answer_are_lines_too(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(feeding(Feed(note(progress=1), message(id=1, result={}), ended=True)))) as pipe:
        await pipe.say(modern("x"))
        assert [(await pipe.hear()).get("method") for _ in range(2)] == ["notifications/progress", None]


async def test_an_answer_without_an_id_gets_that_of_its_request(autojump_clock: MockClock) -> None:
    """An HTTP server may refuse with a null id; on a pipe nothing else tells what is meant."""
    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_call = feeding(Feed(message(id=None, error={"code": -32600, "message": "no"}), ended=True))
        await pipe.say(legacy("x", id="mine"))
        assert (await pipe.hear())["id"] == "mine"


@pytest.mark.parametrize(("error", "code"), [(UpstreamExited("gone"), 1002), (UpstreamAnswered(401, (), b"who?"), 1006), (Overloaded("full"), 1101)])
async def test_a_failure_is_the_answer(autojump_clock: MockClock, error: Exception, code: int) -> None:
    async with open_pipe(FakeUpstream(failing(error))) as pipe:
        await pipe.say(modern("x", id="a"))
        answer = await pipe.hear()
        assert (answer["id"], answer["error"]["code"], answer["error"]["message"]) == ("a", code, str(error))


# ---------------------------------------------------- lines
@pytest.mark.parametrize(("line", "code", "id"), [
    (b"nonsense", -32700, None), (b"{", -32700, None), (b'"\xff"', -32700, None), (b"7", -32600, None), (b"{}", -32600, None), (b"[]", -32600, None),
    (b'{"jsonrpc":"2.0","id":{},"method":"x"}', -32600, None), (b'{"jsonrpc":"2.0","id":null,"method":"x"}', -32600, None),
    (b"[" * 10_000, -32700, None), (b"Content-Length: 7", -32700, None),
])  # fmt: skip
async def test_what_is_no_message_is_told_so_and_the_next_is_served(autojump_clock: MockClock, line: bytes, code: int, id: object) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(line + b"\n", modern("x", id="next"))
        heard = sorted([await pipe.hear(), await pipe.hear()], key=lambda one: "result" in one)
        assert [(one["id"], one.get("error", {}).get("code")) for one in heard] == [(id, code), ("next", None)]
        assert len(pipe.upstream.calls) == 1


async def test_a_line_past_the_limit_is_dropped_and_the_next_is_served(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(), limits=Limits(body=300)) as pipe:
        await pipe.say(legacy("x", {"long": "x" * 300}))
        refusal = await pipe.hear()
        assert (refusal["id"], refusal["error"]["code"], "limits.body" in refusal["error"]["message"]) == (None, -32600, True)
        await pipe.say(legacy("x", {"long": "x" * 100}))
        assert result_of(await pipe.hear()) == {"of": "x"}
        assert len(pipe.upstream.calls) == 1


async def test_a_batch_is_taken_apart_and_answered_line_by_line(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(b'[{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":2,"method":"y"}]\n')
        assert sorted([(await pipe.hear())["id"], (await pipe.hear())["id"]]) == [1, 2]
        assert [exchange.request.method for exchange in pipe.upstream.notes] == ["notifications/x"]


LINES = (b'{"jsonrpc":"2.0","id":1,"method":"a"}\n', b'{"jsonrpc":"2.0","id":"1","method":"b"}\r\n', b"\n", b"  \n", b"nonsense\n",
         b'{"jsonrpc":"2.0","method":"notifications/x"}\n', '{"jsonrpc":"2.0","id":2,"method":"é"}\n'.encode(), b'{"jsonrpc":"2.0","id":3,"method":"end"}')  # fmt: skip


async def conversation(pieces: list[bytes]) -> tuple[list[str], list[str]]:
    async with open_pipe(FakeUpstream()) as pipe:
        for piece in pieces:
            await pipe.say(piece)
            await wait_all_tasks_blocked()
        pipe.end()
        heard = sorted(str(one) for one in await pipe.hear_all())
        return sorted(method or "" for method in pipe.upstream.methods), heard


@cache
def byte_by_byte() -> tuple[list[str], list[str]]:
    data = b"".join(LINES)
    return virtually(lambda: conversation([data[at : at + 1] for at in range(len(data))]))


@given(cuts=st.lists(st.integers(0, 300), max_size=20))
@settings(deadline=None)
def test_any_cut_of_the_bytes_is_the_same_conversation(cuts: list[int]) -> None:
    data = b"".join(LINES)
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    methods, heard = virtually(lambda: conversation([data[start:stop] for start, stop in pairwise(at) if start != stop]))
    assert (methods, len(heard)) == (["a", "b", "end", "é"], 5)
    assert (methods, heard) == byte_by_byte()


# ---------------------------------------------------- the legacy session
async def begun(pipe: Pipe) -> None:
    await pipe.say(INITIALIZE)
    assert (await pipe.hear())["id"] == 0
    await pipe.say(INITIALIZED)
    await wait_all_tasks_blocked()


async def test_the_whole_conversation_is_one_session(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await begun(pipe)
        await pipe.say(legacy("x"), legacy("notifications/y", id=NO_ID))
        await pipe.hear()
        await wait_all_tasks_blocked()
        exchanges = [*pipe.upstream.calls, *pipe.upstream.notes, *pipe.upstream.listeners]
        assert len(exchanges) == 5
        (session,) = {exchange.session for exchange in exchanges}
        assert session is not None


@pytest.mark.parametrize("slow", ["notify", "listen"])
async def test_nothing_overtakes_initialized_and_the_stream_that_it_opens(autojump_clock: MockClock, slow: str) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(INITIALIZE)
        await pipe.hear()
        go = trio.Event()

        async def notify(exchange: Exchange) -> None:
            await go.wait()

        async def listen(exchange: Exchange) -> Feed:
            await go.wait()
            return Feed()

        if slow == "notify":
            pipe.upstream.on_notify = notify
        else:
            pipe.upstream.on_listen = listen
        await pipe.say(INITIALIZED, legacy("x"))
        await trio.sleep(0.9)
        assert pipe.upstream.methods == ["initialize"]
        go.set()
        await pipe.hear()
        assert (pipe.upstream.methods, len(pipe.upstream.notes), len(pipe.upstream.listeners)) == (["initialize", "x"], 1, 1)


async def test_a_stream_that_does_not_open_holds_nobody_up_for_long(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_listen = hang  # type: ignore[assignment]  # it never gets so far as to give a stream
        await pipe.say(INITIALIZE)
        await pipe.hear()
        await pipe.say(INITIALIZED, legacy("x"))
        await pipe.hear()
        assert trio.current_time() == pytest.approx(1, abs=0.01)


async def test_what_the_server_says_unasked_reaches_the_client(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_listen = feeding(feed)
        await begun(pipe)
        feed.put(note("notifications/tools/list_changed"), message(id="ask", method="roots/list"))
        assert [(await pipe.hear()).get("method") for _ in range(2)] == ["notifications/tools/list_changed", "roots/list"]
        await pipe.say({"jsonrpc": "2.0", "id": "ask", "result": {"roots": []}})
        await wait_all_tasks_blocked()
        assert pipe.upstream.notes[-1].request.is_response


@pytest.mark.parametrize("error", [UpstreamAnswered(405, (), b""), UpstreamExited("gone")])
@pytest.mark.parametrize("midway", [False, True])
async def test_a_server_without_such_a_stream_is_a_server_all_the_same(autojump_clock: MockClock, error: Exception, midway: bool) -> None:
    async def refuse(exchange: Exchange) -> Feed:
        raise error

    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_listen = feeding(Feed(error)) if midway else refuse
        await begun(pipe)
        await pipe.say(legacy("x"))
        assert result_of(await pipe.hear()) == {"of": "x"}


async def test_a_notification_that_fails_is_nobodys_answer(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise UpstreamExited("gone")

    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_notify = refuse
        await pipe.say(legacy("notifications/x", id=NO_ID))
        assert await pipe.quiet()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_modern_client_has_no_session_no_stream_and_no_farewell(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        await pipe.say(modern("server/discover"), modern("x", id=2))
        await pipe.hear()
        await pipe.hear()
        await pipe.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}})
        pipe.end()
        await pipe.server.finished()
        assert {exchange.session for exchange in pipe.upstream.calls} == {None}
        assert pipe.upstream.notes == pipe.upstream.listeners == pipe.upstream.ends == []


async def test_a_client_that_tried_the_modern_era_first_gets_its_session(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(failing(UpstreamExited("legacy only")))) as pipe:
        await pipe.say(modern("server/discover"))
        assert "error" in await pipe.hear()
        pipe.upstream.on_call = FakeUpstream().on_call
        await begun(pipe)
        assert len(pipe.upstream.listeners) == 1


# ---------------------------------------------------- deadlines
@ERAS
async def test_no_answer_in_time_is_an_error_with_the_id(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_pipe(FakeUpstream(hang), timeouts=Timeouts(request=7)) as pipe:
        await pipe.say(exchange)
        answer = await pipe.hear()
        assert (trio.current_time(), answer["id"], answer["error"]["code"]) == (pytest.approx(7, abs=0.01), "a", 1004)
        assert (pipe.upstream.open, pipe.server.exchanges) == (set(), 0)


async def test_progress_pushes_the_deadline_up_to_its_maximum(autojump_clock: MockClock) -> None:
    feed = Feed()

    async def go_on() -> None:
        while True:
            await trio.sleep(50)
            feed.put(note())

    async with open_pipe(FakeUpstream(feeding(feed)), timeouts=Timeouts(request=60, request_max=600)) as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        await pipe.say(modern("x"))
        while "error" not in await pipe.hear():
            pass
        assert trio.current_time() == pytest.approx(600, abs=0.01)
        nursery.cancel_scope.cancel()


async def test_a_subscription_has_no_deadline(autojump_clock: MockClock) -> None:
    feed = Feed()
    async with open_pipe(FakeUpstream(feeding(feed))) as pipe:
        await pipe.say(modern("subscriptions/listen"))
        for _ in range(3):
            await trio.sleep(5000)
            feed.put(note())
            await pipe.hear()


# ---------------------------------------------------- the end
@ERAS
async def test_the_end_of_input_lets_what_is_under_way_finish(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with open_pipe(FakeUpstream(after(20))) as pipe:
        await pipe.say(exchange, b'{"jsonrpc":"2.0","id":"b","method":"unterminated"}')
        pipe.end()
        assert sorted(one["id"] for one in await pipe.hear_all() if "result" in one) == ["a", "b"]
        assert trio.current_time() == pytest.approx(20, abs=0.01)


async def test_past_the_grace_every_request_is_told(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(hang), timeouts=Timeouts(drain=30)) as pipe:
        await pipe.say(legacy("x", id=1), modern("x", id="1"))
        pipe.end()
        heard = await pipe.hear_all()
        assert {(one["id"], one["error"]["code"]) for one in heard} == {(1, 1101), ("1", 1101)}
        assert (len(heard), trio.current_time()) == (2, pytest.approx(30, abs=0.01))
        assert (pipe.upstream.open, pipe.gateway.admission.in_flight) == (set(), 0)


async def test_the_session_ends_upstream_once_and_gives_back_what_it_held(autojump_clock: MockClock) -> None:
    given_back: list[str] = []
    async with open_pipe(FakeUpstream()) as pipe:
        await begun(pipe)
        session = pipe.upstream.calls[0].session
        assert session is not None
        session.on_leave(given_back.append, "child")
        pipe.end()
        await pipe.server.finished()
        assert ([exchange.session for exchange in pipe.upstream.ends], given_back, pipe.upstream.open) == ([session], ["child"], set())


async def test_a_farewell_that_hangs_is_cut_short(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream()) as pipe:
        pipe.upstream.on_end = hang  # type: ignore[assignment]  # it never returns anything
        await begun(pipe)
        pipe.end()
        await pipe.server.finished()
        assert trio.current_time() == pytest.approx(2, abs=0.01)


async def test_a_subscription_ends_with_an_empty_result_at_once(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(feeding(Feed()))) as pipe:
        await pipe.say(modern("subscriptions/listen", id="sub"))
        await wait_all_tasks_blocked()
        pipe.server.drain()
        meta = {"io.modelcontextprotocol/subscriptionId": "sub"}
        assert await pipe.hear_all() == [{"jsonrpc": "2.0", "id": "sub", "result": {"resultType": "complete", "_meta": meta}}]
        assert trio.current_time() < 0.1


async def test_a_drain_is_the_end_of_input(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(after(5))) as pipe:
        await pipe.say(modern("x"))
        await wait_all_tasks_blocked()
        pipe.server.drain()
        await pipe.say(modern("x", id=2))
        assert [one["id"] for one in await pipe.hear_all()] == [1]


# ---------------------------------------------------- clients that do not read
async def test_a_client_that_does_not_read_is_not_read_either(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        return answer_to(exchange, much="x" * 1_000_000)

    async with open_pipe(FakeUpstream(call)) as pipe:
        pipe.stop_reading()
        for id in range(30):
            await pipe.say(modern("x", id=id))
            await wait_all_tasks_blocked()
        assert 8 <= len(pipe.upstream.calls) <= 11  # eight MiB of answers, and no more


async def test_a_client_that_closes_our_output_ends_the_run(autojump_clock: MockClock) -> None:
    async with open_pipe(FakeUpstream(hang), timeouts=Timeouts(drain=30)) as pipe:
        await pipe.say(modern("x"), b"nonsense\n")
        pipe.close_output()
        await pipe.server.finished()
        assert (trio.current_time() < 1, pipe.upstream.open) == (True, set())


# ---------------------------------------------------- cancelled at every step
def test_cancelled_anywhere_nothing_is_left_behind() -> None:
    async def scenario(sword: Sword) -> None:
        upstream = FakeUpstream()
        given_back: list[str] = []
        held: list[str] = []
        pipe = None
        with sword():
            async with open_pipe(upstream) as pipe:
                await begun(pipe)
                assert upstream.calls[0].session is not None
                upstream.calls[0].session.on_leave(given_back.append, "child")
                held.append("child")
                upstream.on_call = after(1)
                await pipe.say(legacy("x", id=1), legacy("x", id=2), b"nonsense\n", legacy("notifications/cancelled", {"requestId": 2}, NO_ID))
                await pipe.hear()
                pipe.end()
                await pipe.server.finished()
        assert upstream.open == set()
        if pipe is not None:
            assert pipe.gateway.admission.in_flight == 0
            assert given_back == held

    assert cancel_everywhere(scenario) > 50
