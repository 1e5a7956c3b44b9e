"""Correlation over real pipes: ids, tokens, subscriptions, cancellations, requests of the server, header rules. Every client calls all it has 1."""
from __future__ import annotations

from typing import Any

import pytest
import trio
from actors import actors, ask, begun, old_tool, result, tool
from dialogue import NO_ID, POST, Json, legacy, listening, message, modern, plain
from programs import until

from shadowproxy.errors import RequestCancelled, SpecError, UpstreamExited
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION
from shadowproxy.wire.jsonrpc import Message

EVIL: list[Any] = [1, 1, 1, "1", "", "\u00e9\"\\\n\u2028", 0, -1, 2**53 + 1, 10**40, "x" * 1000]


def method_of(one: Json) -> Any:
    return one.get("method")


def under_way(upstream: StdioUpstream) -> set[bytes]:
    """The ids of the modern requests that the child has been sent and has not answered, as their clients call them."""
    return set() if upstream._modern is None else {bytes(slot.id) for slot in upstream._modern.waiting.values() if slot.id is not None}


async def seen_by(upstream: StdioUpstream) -> list[Json]:
    found: list[Json] = (await result(upstream, tool("seen")))["seen"]
    return found


# --- ids and tokens

async def test_ids_and_tokens_come_back_exactly_although_all_clients_use_the_same() -> None:
    async with actors() as upstream:
        replies: dict[int, list[Json]] = {}

        async def use(number: int, id: Any, token: Any) -> None:
            replies[number] = await ask(upstream, tool("progress", id, meta={"progressToken": token}, steps=number + 1))

        async with trio.open_nursery() as nursery:
            for number, own in enumerate(EVIL):
                nursery.start_soon(use, number, own, EVIL[-number])
        for number, own in enumerate(EVIL):
            *notes, response = replies[number]
            assert response["id"] == own
            assert type(response["id"]) is type(own)
            assert [note["params"] for note in notes] == [{"progressToken": EVIL[-number], "progress": step} for step in range(number + 1)]
        calls = [one for one in await seen_by(upstream) if method_of(one) == "tools/call"]
        wires = [one["id"] for one in calls]
        assert len(set(wires)) == len(wires)
        assert all(one["params"]["_meta"].get("progressToken", one["id"]) == one["id"] for one in calls)


async def test_a_log_line_never_reaches_another() -> None:
    async with actors() as upstream:
        got = await ask(upstream, tool("log", "mine", meta={META_LOG_LEVEL: "info", "progressToken": 1}))
        assert [method_of(one) for one in got] == ["notifications/message", None]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, upstream, tool("hang", 77, meta={META_LOG_LEVEL: "info"}))
            await until(lambda: b"77" in under_way(upstream))
            assert len(await ask(upstream, tool("log", meta={META_LOG_LEVEL: "info"}))) == 1, "whose it is cannot be known"
            assert len(await ask(upstream, tool("log"))) == 1
            nursery.cancel_scope.cancel()


# --- subscriptions

async def test_subscriptions_fan_out_and_end_each_under_its_own_id() -> None:
    async with actors() as upstream:
        heard: dict[int, list[Json]] = {number: [] for number in range(3)}
        ids: list[Any] = [1, 1, "x"]

        async def listen(number: int) -> None:
            with modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, ids[number]) as exchange:
                replies = await upstream.call(exchange)
                assert not isinstance(replies, Message)
                async for item in replies:
                    assert isinstance(item, Message)
                    heard[number].append(plain(item))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(listen, number)
                await until(lambda: all(len(notes) == 1 for notes in heard.values()))
                await ask(upstream, tool("change"))
                await until(lambda: all(len(notes) == 2 for notes in heard.values()))
                await ask(upstream, tool("end"))
        for number, notes in heard.items():
            assert [method_of(note) for note in notes] == ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed", None]
            assert [note["params"]["_meta"][META_SUBSCRIPTION] for note in notes[:2]] == [ids[number]] * 2
            assert (notes[2]["id"], notes[2]["result"]["_meta"][META_SUBSCRIPTION]) == (ids[number], ids[number])


# --- cancellation

async def test_a_modern_client_that_leaves_is_told_of_by_the_wire_id() -> None:
    async with actors() as upstream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, upstream, tool("hang", 77))
            await until(lambda: b"77" in under_way(upstream))
            nursery.cancel_scope.cancel()
        seen = await seen_by(upstream)
        hanging = next(one for one in seen if method_of(one) == "tools/call" and one["params"]["name"] == "hang")
        cancelled = [one["params"]["requestId"] for one in seen if method_of(one) == "notifications/cancelled"]
        assert cancelled == [hanging["id"]]


async def test_a_legacy_client_cancels_its_own_request_by_its_own_id() -> None:
    async with actors() as upstream:
        session = await begun(upstream)
        errors: list[RequestCancelled] = []

        async def use(id: Any) -> None:
            try:
                await ask(upstream, old_tool(session, "hang", id))
            except RequestCancelled as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, "1")
            nursery.start_soon(use, 1)
            await until(lambda: len(session.upstream.link.waiting) == 2)
            await notify(upstream, session, "notifications/cancelled", requestId=1, reason="bored")
            await until(lambda: len(errors) == 1)
            seen: list[Json] = (await result(upstream, old_tool(session, "seen")))["seen"]
            nursery.cancel_scope.cancel()
        calls = [one["id"] for one in seen if method_of(one) == "tools/call"]
        told = [one["params"] for one in seen if method_of(one) == "notifications/cancelled"]
        assert len(told) == 1
        assert told[0]["reason"] == "bored"
        assert told[0]["requestId"] in calls[:2]


async def notify(upstream: StdioUpstream, session: Session, method: str, **params: Any) -> None:
    with legacy(method, params, NO_ID, session) as exchange:
        await upstream.notify(exchange)


# --- what a legacy server says unasked

async def test_a_request_of_the_server_is_answered_by_its_own_client() -> None:
    async with actors() as upstream:
        sessions = [await begun(upstream) for _ in range(2)]
        answers: list[Json] = []

        async def use(session: Session, text: str) -> None:
            with old_tool(session, "ask", request="q") as exchange:
                replies = await upstream.call(exchange)
                assert not isinstance(replies, Message)
                async for item in replies:
                    assert isinstance(item, Message)
                    if item.is_response:
                        answers.append(plain(item)["result"]["answer"])
                    else:
                        with Exchange(message(id="q", result={"text": text}), "legacy", session, POST) as answer:
                            await upstream.notify(answer)

        async with trio.open_nursery() as nursery:
            for session, text in zip(sessions, "ab", strict=True):
                nursery.start_soon(use, session, text)
        assert sorted(answer["text"] for answer in answers) == ["a", "b"]


async def test_changes_go_to_the_stream_of_the_session_and_to_no_other() -> None:
    async with actors() as upstream:
        one, other = await begun(upstream), await begun(upstream)
        heard: dict[str, list[Json]] = {"one": [], "other": []}

        async def listen(name: str, session: Session) -> None:
            with listening(session) as exchange:
                async for item in await upstream.listen(exchange):
                    assert isinstance(item, Message)
                    heard[name].append(plain(item))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, "one", one)
            nursery.start_soon(listen, "other", other)
            assert method_of((await ask(upstream, old_tool(one, "change")))[0]) is None
            await until(lambda: heard["one"])
            one.end()  # whose stream ends with it
            await until(lambda: one.ended)
            nursery.cancel_scope.cancel()
        assert (len(heard["one"]), heard["other"]) == (1, [])


# --- header rules, with their statuses

async def refused(upstream: StdioUpstream, exchange: Exchange) -> tuple[int, int]:
    with pytest.raises(SpecError) as caught:
        await ask(upstream, exchange)
    return caught.value.http_status, caught.value.rpc_code


def mirrored(*regions: bytes, header: bytes = b"mcp-param-region") -> Exchange:
    exchange = tool("echo", region="eu")
    assert exchange.headers is not None
    return Exchange(exchange.request, "modern", None, (*exchange.headers, *((header, region) for region in regions)))


async def test_the_header_rules_are_kept_in_the_servers_stead() -> None:
    async with actors() as upstream:
        assert await refused(upstream, modern("tools/list", headers=POST)) == (400, -32020)
        assert await refused(upstream, Exchange(message(id=1, method="tools/list", params={}), "modern", None, POST)) == (400, -32602)
        assert await refused(upstream, modern("ping")) == (404, -32601)
        unknown = modern("no/such/method")
        assert (await ask(upstream, unknown))[0]["error"]["code"] == -32601
        assert unknown.status == 404
        good = tool("echo")
        await ask(upstream, good)
        assert good.status == 200


async def test_mirrored_arguments_are_judged_by_the_servers_own_list_and_by_its_newest() -> None:
    async with actors() as upstream:
        assert await refused(upstream, mirrored()) == (400, -32020)
        assert await refused(upstream, mirrored(b"us")) == (400, -32020)
        assert await refused(upstream, mirrored(b"eu", b"eu")) == (400, -32020)
        assert (await result(upstream, mirrored(b"eu")))["arguments"] == {"region": "eu"}
        await ask(upstream, tool("retool", header="Zone"))
        assert (await result(upstream, mirrored(b"eu", header=b"mcp-param-zone")))["arguments"] == {"region": "eu"}
        assert await refused(upstream, mirrored(b"eu")) == (400, -32020)


async def test_rules_are_learnt_anew_from_a_new_child() -> None:
    async with actors() as upstream:
        await ask(upstream, tool("retool", header="Zone"))
        assert (await result(upstream, mirrored(b"eu", header=b"mcp-param-zone")))["arguments"] == {"region": "eu"}
        pid = (await result(upstream, tool("seen")))["pid"]
        with pytest.raises(UpstreamExited, match="status 1"):
            await ask(upstream, tool("die", status=1))
        assert await refused(upstream, mirrored(b"eu", header=b"mcp-param-zone")) == (400, -32020)
        assert (await result(upstream, mirrored(b"eu")))["pid"] != pid, "which mirrors the region again"
