"""Batches, which 2025-03-26 has and no other revision: split here, answered in one stream, each message an exchange of its own."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
from asgi_client import Direct
from dialogue import POST, Json
from fakes import FakeUpstream, Feed, after, answer_to, feeding, hang, note
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import Client, Response, open_house, request_bytes

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import UpstreamExited
from shadowproxy.exchange import Exchange, Reply
from shadowproxy.wire.jsonrpc import Message
from shadowproxy.wire.sse import Event

BATCHING = "2025-03-26"


def request(id: object, method: str = "x", **params: object) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


NOTIFICATION: Json = {"jsonrpc": "2.0", "method": "notifications/x"}
ANSWER: Json = {"jsonrpc": "2.0", "id": 9, "result": {}}


def batch(*messages: Json) -> bytes:
    return json.dumps(messages).encode()


async def post(client: Client, *messages: Json, **fields: str) -> Response:
    return await client.ask(body=batch(*messages), fields=POST, **fields)


async def by_wait(exchange: Exchange) -> Reply:
    await trio.sleep(float(bytes(exchange.request.params().get("wait", b"0"))))
    return answer_to(exchange)


async def test_answers_come_in_one_stream_in_the_order_in_which_they_are_ready(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(by_wait)) as house:
        client = house.connect()
        response = await post(client, request(1, wait=3), NOTIFICATION, request("1", wait=1), ANSWER, request(2, wait=2))
        assert (response.status, response["content-type"]) == (200, "text/event-stream")
        assert [message["id"] for message in response.messages] == ["1", 2, 1]
        assert [exchange.request.method for exchange in house.upstream.notes] == ["notifications/x", None]
        assert (trio.current_time(), house.upstream.open, house.gateway.admission.in_flight) == (pytest.approx(3, abs=0.01), set(), 0)
        assert (await post(client, request(1))).status == 200


@pytest.mark.parametrize("messages", [[NOTIFICATION], [ANSWER], [NOTIFICATION, ANSWER, NOTIFICATION]])
async def test_what_wants_no_answer_is_accepted(autojump_clock: MockClock, messages: list[Json]) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await post(house.connect(), *messages)
        assert (response.status, response.body, len(house.upstream.notes)) == (202, b"", len(messages))


async def test_messages_before_an_answer_are_events_as_well(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        return Feed(note(of=exchange.request.method), answer_to(exchange), ended=True)

    async with open_house(FakeUpstream(call)) as house:
        messages = (await post(house.connect(), request(1, "a"), request(2, "b"))).messages
        assert sorted((one.get("id") or 0, one.get("method") or "") for one in messages) == [(0, "notifications/progress")] * 2 + [(1, ""), (2, "")]


@pytest.mark.parametrize(("body", "code"), [
    (b"[]", -32600), (b"[", -32700), (b"[1]", -32600), (b"[{}]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"x"},7]', -32600), (b"[[]]", -32600),
    (b"[" * 100_000 + b"]" * 100_000, -32700),
])  # fmt: skip
async def test_what_is_no_batch_is_refused_as_a_whole(autojump_clock: MockClock, body: bytes, code: int) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await house.connect().ask(body=body, fields=POST)
        assert (response.status, response.code, house.upstream.calls) == (400, code, [])


@pytest.mark.parametrize(("version", "status"), [(None, 200), (BATCHING, 200), ("2024-11-05", 400), ("2025-06-18", 400), ("2025-11-25", 400), ("2026-07-28", 400)])
async def test_only_one_revision_has_them(autojump_clock: MockClock, version: str | None, status: int) -> None:
    async with open_house(FakeUpstream()) as house:
        response = await post(house.connect(), request(1), **({} if version is None else {"mcp_protocol_version": version}))
        assert (response.status, len(house.upstream.calls)) == (status, status == 200)


@pytest.mark.parametrize(("version", "status"), [(BATCHING, 200), ("2025-06-18", 400)])
async def test_a_session_knows_its_revision(autojump_clock: MockClock, version: str, status: int) -> None:
    async def call(exchange: Exchange) -> Reply:
        return answer_to(exchange, protocolVersion=version)

    async with open_house(FakeUpstream(call)) as house:
        client = house.connect()
        session = (await client.ask(body=json.dumps(request(1, "initialize")).encode(), fields=POST))["mcp-session-id"] or ""
        assert (await post(client, request(1), mcp_session_id=session)).status == status


async def test_one_that_fails_has_an_error_and_the_others_their_answers(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        if exchange.request.method == "broken":
            raise UpstreamExited("it has gone")
        if exchange.request.method == "wrong":
            exchange.request.params()
        return answer_to(exchange)

    async with open_house(FakeUpstream(call)) as house:
        wrong = {"jsonrpc": "2.0", "id": 3, "method": "wrong", "params": 7}
        messages = (await post(house.connect(), request(1), request(2, "broken"), wrong)).messages
        assert {one["id"]: one.get("error", {}).get("code") for one in messages} == {1: None, 2: 1002, 3: -32602}


@pytest.mark.parametrize("streams", [False, True])
async def test_each_has_a_deadline(autojump_clock: MockClock, streams: bool) -> None:
    async def call(exchange: Exchange) -> Reply:
        return await by_wait(exchange) if exchange.request.method == "x" else await (feeding(Feed()) if streams else hang)(exchange)

    async with open_house(FakeUpstream(call), timeouts=Timeouts(request=7)) as house:
        client = house.connect()
        messages = (await post(client, request(1), request("slow", "slow"))).messages
        assert [(one["id"], one.get("error", {}).get("code")) for one in messages] == [(1, None), ("slow", 1004)]
        assert "(timeouts.request, --request-timeout)" in messages[-1]["error"]["message"], "what to change"
        assert (trio.current_time(), house.upstream.open) == (pytest.approx(7, abs=0.3), set())
        assert (await post(client, request(1))).status == 200


async def test_a_notification_that_is_refused_refuses_the_batch(autojump_clock: MockClock) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise UpstreamExited("it has gone")

    async with open_house(FakeUpstream()) as house:
        house.upstream.on_notify = refuse
        response = await post(house.connect(), request(1), NOTIFICATION)
        assert (response.status, response.code, house.upstream.calls) == (502, 1002, [])


async def test_every_message_counts_against_the_limit_of_exchanges(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(after(1)), limits=Limits(exchanges=2, queue=1)) as house:
        messages = (await post(house.connect(), *(request(id) for id in range(5)))).messages
        assert sorted(one.get("error", {}).get("code", 0) for one in messages) == [0, 0, 0, 1101, 1101]
        assert house.gateway.admission.in_flight == 0


async def test_a_clients_leaving_does_not_cancel_and_is_no_bug(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """It is the legacy era: disconnection is no cancellation."""
    async with open_house(FakeUpstream(by_wait)) as house:
        client = house.connect()
        await client.send(request_bytes(body=batch(request(1, wait=1), request(2, wait=5)), fields=POST))
        await trio.sleep(0.5)
        client.leave()
        await trio.sleep(2)
        assert (house.upstream.cancelled, len(house.upstream.open)) == ([], 1)
        await trio.sleep(3)
        assert (house.upstream.cancelled, house.upstream.open, house.server.connections) == ([], set(), 0)
    assert caplog.records == []


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    feed = Feed(*(note() for _ in range(100)))
    async with open_house(FakeUpstream(feeding(feed)), timeouts=Timeouts(write=10, request=60)) as house:
        client = house.connect()
        client.stop_reading()
        await client.send(request_bytes(body=batch(request(1)), fields=POST))
        await trio.sleep(9)
        assert feed.waiting > 50  # it was held up
        await trio.sleep(60)
        assert (house.upstream.open, house.server.connections) == (set(), 0)
    assert caplog.records == []


async def test_a_drain_lets_a_batch_finish(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(by_wait)) as house:
        client = house.connect()
        await client.send(request_bytes(body=batch(request(1, wait=5), request(2, wait=9)), fields=POST))
        await wait_all_tasks_blocked()
        house.server.drain()
        assert [one["id"] for one in (await client.response()).messages] == [1, 2]
        assert await client.closed()


# ---------------------------------------------------- what every stream has
async def slowly(exchange: Exchange) -> Reply:
    """Progress every 50 s, and the answer after as many of them as it is asked for."""

    async def replies() -> AsyncIterator[Message | Event]:
        for _ in range(int(bytes(exchange.request.params()["notes"]))):
            await trio.sleep(50)
            yield note()
        yield answer_to(exchange)

    return replies()


async def test_a_silent_batch_has_comments(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(by_wait), timeouts=Timeouts(keep_alive=15)) as house:
        client = house.connect()
        await client.send(request_bytes(body=batch(request(1, wait=50), request(2, wait=1)), fields=POST))
        stream = await client.events()
        assert [(await stream.message() or {})["id"] for _ in range(2)] == [2, 1]
        assert stream.comments == 3


@pytest.mark.parametrize(("notes", "code", "ends"), [(3, None, 150), (30, 1004, 600)])
async def test_progress_pushes_the_deadline_of_its_own_request(autojump_clock: MockClock, notes: int, code: int | None, ends: float) -> None:
    async def call(exchange: Exchange) -> Reply:
        return await (slowly if exchange.request.method == "x" else hang)(exchange)

    async with open_house(FakeUpstream(call), timeouts=Timeouts(request=60, request_max=600)) as house:
        client = house.connect()
        messages = (await post(client, request(1, notes=notes), request(2, "hangs"))).messages
        answers = {one["id"]: one.get("error", {}).get("code") for one in messages if "id" in one}
        assert (answers, list(answers)) == ({2: 1004, 1: code}, [2, 1])
        assert (trio.current_time(), house.upstream.open) == (pytest.approx(ends, abs=0.3), set())
        assert (await post(client, request(1, notes=0))).status == 200


async def test_at_shutdown_what_is_not_answered_yet_is_told_so(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(by_wait)) as house:
        client = house.connect()
        await client.send(request_bytes(body=batch(request(1, wait=1), request("a", wait=50), request(2, wait=50)), fields=POST))
        await trio.sleep(2)
        house.server.drain()
        await trio.sleep(2)
        house.server.cancel("shutdown")
        messages = (await client.response()).messages
        assert [(one["id"], one.get("error", {}).get("code")) for one in messages] == [(1, None), ("a", 1101), (2, 1101)]
        assert (await client.closed(), house.upstream.open, house.gateway.admission.in_flight) == (True, set(), 0)


async def test_on_another_server_a_batch_is_the_same(autojump_clock: MockClock) -> None:
    async with open_house(FakeUpstream(slowly), timeouts=Timeouts(request=60, request_max=600, keep_alive=20)) as house:
        direct = Direct(house.endpoint, fields=POST, parts=[batch(request(1, notes=3), NOTIFICATION)])
        await direct.run()
        assert (direct.status, [one.get("id") for one in direct.messages], direct.whole) == (200, [None, None, None, 1], True)
        assert (direct.comments, trio.current_time(), len(house.upstream.notes)) == (7, 150, 1)
