"""A tape answers in its server's place: which answer, whole or as a stream, with which fields, under which id; what happens to what is not on it."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from dialogue import META, Json, modern, plain
from replays import WELCOME, Caller, asked, call_modern, events_of, handshake, opened, replaying, tool
from tapes import happening, notification, raw, request, response

from shadowproxy.errors import ProxyError, RequestCancelled, SessionMissing, SpecError, TapeMiss, UpstreamAnswered, UpstreamBroken
from shadowproxy.tape.frame import Http, Sse
from shadowproxy.wire.jsonrpc import Message, Raw, error_code
from shadowproxy.wire.sse import Event

ADD, MUL = {"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "mul", "arguments": {"a": 3}}


async def test_a_session_is_answered_from_the_tape_under_the_live_ids(tmp_path: Path) -> None:
    async with replaying(tmp_path, [*handshake(), *tool(4, ADD, {"sum": 3})]) as tape:
        client = Caller(tape)
        assert (await client.greet())["result"] == WELCOME
        assert await client.call("tools/call", ADD, id="mine") == [{"jsonrpc": "2.0", "id": "mine", "result": {"sum": 3}}]
        assert tape.statistics() == {"tape_requests": 2, "tape_unused": 0, "tape_held": 0, "tape_misses": 0}


async def test_what_was_not_asked_is_told(tmp_path: Path) -> None:
    async with replaying(tmp_path, [*handshake(), *tool(4, ADD, {}), *asked(6, "prompts/get", {"name": "p"}, {})]) as tape:
        client = Caller(tape)
        await client.greet()
        await client.call("tools/call", ADD)
        assert [(one.n, one.method, one.session) for one in tape.unused()] == [(6, "prompts/get", "s1")]


async def test_an_answer_stays_byte_for_byte_but_for_its_id(tmp_path: Path) -> None:
    strange = b'{"jsonrpc":"2.0","id":4,"result":{"b" : 1e0,"a":"\\u00e9", "a":2},"more":[ ]}'
    answer = msgspec.structs.replace(response(5, 4, id=4, session="s1"), message=Raw(strange))
    frames = [*handshake(), request(4, "tools/call", ADD, id=4, session="s1"), answer]
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        [message] = await events_of(tape, client.exchange("tools/call", ADD, 7))
        assert isinstance(message, Message)
        assert message.encode() == strange.replace(b'"id":4', b'"id":7')


async def test_equal_requests_get_their_answers_in_order_then_none(tmp_path: Path) -> None:
    async with replaying(tmp_path, [*handshake(), *tool(4, ADD, {"n": 1}), *tool(6, ADD, {"n": 2})]) as tape:
        client = Caller(tape)
        await client.greet()
        assert [await client.result("tools/call", ADD) for _ in range(2)] == [{"n": 1}, {"n": 2}]
        with pytest.raises(TapeMiss, match="used up"):
            await client.call("tools/call", ADD)


async def test_a_miss_shows_the_nearest_request_and_the_difference(tmp_path: Path) -> None:
    async with replaying(tmp_path, [*handshake(), *tool(4, MUL, {}), *tool(6, ADD, {})]) as tape:
        client = Caller(tape)
        await client.greet()
        with pytest.raises(TapeMiss, match="/params/arguments/b: 2 -> 3") as caught:
            await client.call("tools/call", {"name": "add", "arguments": {"a": 1, "b": 3}})
        assert caught.value.payload() == {
            "name": "tape_miss", "method": "tools/call",
            "nearest": {"n": 6, "differences": [{"pointer": "/params/arguments/b", "recorded": "2", "asked": "3"}]},
        }  # fmt: skip
        with pytest.raises(TapeMiss, match="prompts/get was never asked on this tape"):
            await client.call("prompts/get", {"name": "x"})
        assert tape.statistics()["tape_misses"] == 2


async def test_warn_is_an_error_and_a_line_without_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with replaying(tmp_path, [*handshake(), *tool(4, ADD, {})], on_miss="warn") as tape:
        client = Caller(tape)
        await client.greet()
        with pytest.raises(TapeMiss):
            await client.call("tools/call", {"name": "add", "arguments": {"a": "hunter2", "b": 2}})
    [record] = caplog.records
    assert (record.levelname, record.__dict__["differs_at"]) == ("WARNING", ["/params/arguments/a"])
    assert "hunter2" not in caplog.text + str(record.__dict__)


async def test_how_it_came_status_fields_and_stream(tmp_path: Path) -> None:
    error = {"code": -32602, "message": "no"}
    frames = [
        *handshake(),
        request(4, "a", id=4, session="s1"),
        response(5, 4, id=4, error=error, session="s1", http=Http(None, 400, (("content-type", "x"), ("mcp-session-id", "old"), ("retry-after", "7")))),
        request(6, "b", id=6, session="s1"), response(7, 6, id=6, session="s1", stream="x6", sse=Sse("ev9", None, 5)),
    ]  # fmt: skip
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        with client.exchange("a") as exchange:
            assert isinstance(reply := await tape.call(exchange), Message)
            assert (error_code(reply), exchange.status, exchange.reply_headers, exchange.as_event) == (-32602, 400, ((b"retry-after", b"7"),), False)
        with client.exchange("b") as exchange:
            assert isinstance(reply := await tape.call(exchange), Message)
            assert (exchange.as_event, reply.event_id, reply.retry) == (True, b"ev9", 5)


async def test_a_stream_comes_as_it_was_events_without_messages_too(tmp_path: Path) -> None:
    frames = [
        *handshake(), request(4, "slow", id=4, session="s1"),
        happening(5, "event", exchange=4, stream="x4", session="s1", sse=Sse("e1", None, 100)),
        notification(6, "notifications/message", {"data": "x"}, exchange=4, stream="x4", session="s1", sse=Sse("e2")),
        response(7, 4, id=4, session="s1", stream="x4"),
    ]  # fmt: skip
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        priming, log, answer = await events_of(tape, client.exchange("slow", id=1))
        assert priming == Event(b"", b"e1", b"", 100)
        assert isinstance(log, Message)
        assert log.event_id == b"e2"
        assert isinstance(answer, Message)
        assert plain(answer)["id"] == 1


async def test_progress_has_the_live_token_and_is_not_for_who_asked_for_none(tmp_path: Path) -> None:
    frames = [*handshake()]
    for n in (4, 7):
        frames += [
            request(n, "tools/call", {**ADD, "_meta": {"progressToken": "old"}}, id=n, session="s1", token=raw("old")),
            notification(n + 1, "notifications/progress", {"progressToken": "old", "progress": 1}, exchange=n, stream=f"x{n}", session="s1"),
            response(n + 2, n, id=n, session="s1", stream=f"x{n}"),
        ]
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        progress, _ = await client.call("tools/call", {**ADD, "_meta": {"progressToken": 17}})
        assert progress["params"] == {"progressToken": 17, "progress": 1}
        assert len(await client.call("tools/call", ADD)) == 1


async def test_refusals_are_refused_in_the_same_words(tmp_path: Path) -> None:
    crashed = {"jsonrpc": "2.0", "id": 6, "error": {"code": 1002, "message": "gone"}}
    frames = [
        *handshake(),
        request(4, "a", id=4, session="s1"),
        happening(5, "refusal", exchange=4, re=4, session="s1", http=Http(None, 401, (("www-authenticate", "Bearer"),)), error="upstream_refused", text="who?"),
        request(6, "b", id=6, session="s1"),
        happening(7, "refusal", exchange=6, re=6, session="s1", http=Http(None, 502), error="upstream_exited", message=raw(crashed), id=raw(6)),
        request(8, "c", id=8, session="s1"),
        happening(9, "refusal", exchange=8, re=8, session="s1", error="RuntimeError", text="a bug"),
        request(10, "d", id=10, session="s1"),
    ]  # fmt: skip
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        with pytest.raises(UpstreamAnswered) as caught:
            await client.call("a")
        assert (caught.value.http_status, caught.value.fields, caught.value.body) == (401, ((b"www-authenticate", b"Bearer"),), b"who?")
        with pytest.raises(ProxyError, match="gone") as told:
            await client.call("b")
        assert (told.value.name, told.value.http_status, told.value.rpc_code) == ("upstream_exited", 502, 1002)
        with pytest.raises(UpstreamBroken, match="a bug"):
            await client.call("c")
        with pytest.raises(UpstreamBroken, match=r"the tape ends before the answer to this request \(frame 10\)"):
            await client.call("d")


async def test_a_request_that_was_cancelled_waits_to_be_cancelled(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = [*handshake(), request(4, "hang", id=4, session="s1"), happening(5, "cancelled", dir="c2s", exchange=4, re=4, session="s1")]
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()

        async def hang() -> None:
            with pytest.raises(RequestCancelled):
                await client.call("hang", id=9)

        nursery.start_soon(hang)
        await trio.sleep(1000)
        assert tape.statistics()["tape_unused"] == 0
        await client.tell("notifications/cancelled", {"requestId": 8})
        await trio.sleep(1000)
        assert len(nursery.child_tasks) == 1
        await client.tell("notifications/cancelled", {"requestId": 9})


async def test_one_that_was_answered_can_be_cancelled_too(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, [*handshake(), request(4, "slow", id=4, session="s1"), response(5, 4, id=4, session="s1", t=99)], timing="recorded") as tape:
        client = Caller(tape)
        await client.greet()
        async with trio.open_nursery() as nursery:

            async def slow() -> None:
                with pytest.raises(RequestCancelled):
                    await client.call("slow", id=9)

            nursery.start_soon(slow)
            await trio.sleep(1)
            await client.tell("notifications/cancelled", {"requestId": 9})
        assert trio.current_time() == pytest.approx(1.1)  # 0.1 of them is the handshake's


async def test_a_server_that_never_answered_what_was_cancelled_stays_silent_until_the_session_ends(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = [*handshake(), request(4, "hang", id=4, session="s1"), notification(5, "notifications/progress", {}, exchange=4, stream="x4", session="s1"),
              notification(6, "notifications/cancelled", {"requestId": 4}, dir="c2s", session="s1"), happening(7, "open", dir="c2s", exchange=7, stream="g7", session="s1"),
              happening(8, "close", exchange=4, stream="x4", session="s1", t=9999.0), happening(9, "close", exchange=7, stream="g7", session="s1", t=9999.0)]  # fmt: skip
    async with replaying(tmp_path, frames, timing="recorded") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        heard: list[Json] = []

        async def hang() -> None:
            heard.extend(await client.call("hang", id=9))

        nursery.start_soon(hang)
        await nursery.start(client.listen)
        await trio.sleep(1)
        await client.tell("notifications/cancelled", {"requestId": 9})
        await trio.sleep(100)
        assert len(nursery.child_tasks) == 2
        with client.exchange("x") as exchange:
            await tape.end(exchange)
        await trio.testing.wait_all_tasks_blocked()
        assert [one["method"] for one in heard] == ["notifications/progress"]
        assert not nursery.child_tasks


# ---------------------------------------------------- sessions
async def test_each_live_session_gets_the_first_unused_recorded_one_that_began_like_it(tmp_path: Path) -> None:
    frames = [
        *handshake(1, "s1", protocolVersion="2025-03-26"), *tool(4, ADD, {"of": 1}), *handshake(6, "s2"), *tool(9, ADD, {"of": 2}, "s2"),
        *handshake(11, "s3"), *tool(14, ADD, {"of": 3}, "s3"),
    ]  # fmt: skip
    async with replaying(tmp_path, frames) as tape:
        found = []
        for _ in range(4):
            client = Caller(tape)
            await client.greet()
            found.append((await client.result("tools/call", ADD))["of"])
        assert found == [2, 3, 1, 2]


async def test_the_end_of_a_session(tmp_path: Path) -> None:
    async with replaying(tmp_path, handshake()) as tape:
        client = Caller(tape)
        with client.exchange("x") as exchange, pytest.raises(SessionMissing):
            await tape.end(exchange)
        await client.greet()
        with client.exchange("x") as exchange:
            await tape.end(exchange)
        assert client.session is not None
        assert client.session.ended


async def test_a_server_without_sessions(tmp_path: Path) -> None:
    """The handshake stands in a session of its own, as a recorder sees it; what follows, in none."""
    frames = [*handshake()[:2], *tool(4, ADD, {"n": 1}, None)]
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        assert client.session is not None
        assert client.session.id is None, "the downstream names none either"
        assert (await Caller(tape).greet())["result"], "more clients than there were are welcomed too"
        stateless = Caller(tape)
        stateless.session = None
        assert await stateless.result("tools/call", ADD) == {"n": 1}
        with pytest.raises(TapeMiss):
            await client.call("tools/call", ADD)


async def test_a_request_that_was_refused_for_having_no_session_makes_no_server_without_sessions(tmp_path: Path) -> None:
    stray = [request(4, "tools/list", id=2), happening(5, "refusal", exchange=4, id=raw(2), re=4, http=Http(None, 404), text="no such session")]
    async with replaying(tmp_path, [*handshake(), *stray]) as tape:
        client = Caller(tape)
        await client.greet()
        assert client.session is not None
        assert client.session.id is not None


async def test_without_a_session_where_the_tape_has_some(tmp_path: Path) -> None:
    async with replaying(tmp_path, handshake()) as tape:
        client = Caller(tape)
        client.session = None
        with pytest.raises(SessionMissing):
            await client.call("tools/call", ADD)


# ---------------------------------------------------- eras
async def test_modern_exchanges_share_what_was_recorded_of_their_era(tmp_path: Path) -> None:
    old = {**META, "io.modelcontextprotocol/clientInfo": {"name": "then", "version": "0"}}
    frames = [request(1, "tools/call", {**ADD, "_meta": old}, id=1), response(2, 1, id=1, result={"sum": 3, "resultType": "complete"})]
    async with replaying(tmp_path, frames) as tape:
        [answer] = await call_modern(tape, "tools/call", ADD, id="now")
        assert (answer["id"], answer["result"]["sum"]) == ("now", 3)
        with pytest.raises(SpecError) as caught:
            await Caller(tape).greet()
        assert caught.value.data == {"supported": ["2026-07-28"], "requested": "2025-11-25"}


async def test_a_modern_client_of_a_legacy_tape_is_told_which_revisions_there_are(tmp_path: Path) -> None:
    async with replaying(tmp_path, handshake()) as tape:
        with pytest.raises(SpecError) as caught:
            await call_modern(tape, "server/discover")
        assert caught.value.rpc_code == -32022
        assert caught.value.data is not None
        assert caught.value.data["requested"] == "2026-07-28"


async def test_a_request_of_several_rounds(tmp_path: Path) -> None:
    """`requestState` is the tape's own, so the client gives back what was recorded; its answers count."""
    first: Json = {"resultType": "input_required", "inputRequests": {"who": {"method": "elicitation/create"}}, "requestState": "opaque"}
    again = {**ADD, "inputResponses": {"who": {"action": "accept"}}, "requestState": "opaque"}
    frames = [*asked(1, "tools/call", {**ADD, "_meta": META}, first, None), *asked(3, "tools/call", {**again, "_meta": META}, {"resultType": "complete"}, None)]
    async with replaying(tmp_path, frames) as tape:
        [one] = await call_modern(tape, "tools/call", ADD)
        assert one["result"] == first
        with pytest.raises(TapeMiss, match="inputResponses"):
            await call_modern(tape, "tools/call", {**again, "inputResponses": {"who": {"action": "decline"}}})
        [two] = await call_modern(tape, "tools/call", again)
        assert two["result"]["resultType"] == "complete"


async def test_a_subscription_and_what_it_hears(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """It is known by the id of its request; a change is not told before the call that made it."""
    about = {"io.modelcontextprotocol/subscriptionId": 1}
    frames = [
        request(1, "subscriptions/listen", {"_meta": META}, id=1),
        notification(2, "notifications/subscriptions/acknowledged", {"_meta": about}, exchange=1, stream="x1"),
        request(3, "tools/call", {**ADD, "_meta": META}, id=3), response(4, 3, id=3),
        notification(5, "notifications/tools/list_changed", {"_meta": about}, exchange=1, stream="x1"),
        happening(6, "cancelled", dir="c2s", exchange=1, re=1),
    ]  # fmt: skip
    heard: list[Json] = []
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:

        async def listen() -> None:
            with modern("subscriptions/listen", id="sub") as exchange:
                reply = await tape.call(exchange)
                assert not isinstance(reply, Message)
                async for item in reply:
                    assert isinstance(item, Message)
                    heard.append(plain(item))

        nursery.start_soon(listen)
        await trio.sleep(100)
        assert [one["method"] for one in heard] == ["notifications/subscriptions/acknowledged"]
        await call_modern(tape, "tools/call", ADD)
        await trio.sleep(100)
        assert [one["params"]["_meta"] for one in heard] == [{"io.modelcontextprotocol/subscriptionId": "sub"}] * 2
        assert len(nursery.child_tasks) == 1, "it stays open"
        nursery.cancel_scope.cancel()


async def test_what_a_missing_answer_is_asked_of_is_not_a_server_s_stream(tmp_path: Path) -> None:
    async with replaying(tmp_path, handshake()) as tape:
        client = Caller(tape)
        await client.greet()
        with pytest.raises(UpstreamAnswered) as caught:
            await client.listen()
        assert caught.value.http_status == 405


async def test_a_refused_stream_is_refused_again(tmp_path: Path) -> None:
    frames = [*handshake(), opened(4), happening(5, "refusal", exchange=4, re=4, session="s1", http=Http(None, 405), text="no such thing")]
    async with replaying(tmp_path, frames) as tape:
        client = Caller(tape)
        await client.greet()
        for _ in range(2):
            with pytest.raises(UpstreamAnswered, match="no such thing"):
                await client.listen()
