"""What is the modern era's about correlation: subscriptions, log lines, servers that ask; and answers that are too large."""
from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from dialogue import Json, modern
from peer_calls import calls, tool

from shadowproxy.errors import MessageTooLarge
from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION


def subscribed(subscription: Any, method: str = "notifications/tools/list_changed") -> Json:
    return {"method": method, "params": {"_meta": {META_SUBSCRIPTION: subscription, "other": 1}}}


@pytest.mark.parametrize("as_text", [False, True])
async def test_subscriptions_fan_out_each_with_its_own_id(as_text: bool) -> None:
    async with calls() as pipe:
        wires = [(await pipe.call(str(n), modern("subscriptions/listen", {}, own)))["id"] for n, own in enumerate((1, 1, "x"))]
        for wire in wires:
            await pipe.say(subscribed(str(wire) if as_text else wire, "notifications/subscriptions/acknowledged"))
        await pipe.say(subscribed(wires[1]), subscribed(77))
        await pipe.say(*[{"id": wire, "result": {"_meta": {META_SUBSCRIPTION: str(wire) if as_text else wire}}} for wire in wires])
        for n, own in enumerate((1, 1, "x")):
            outcome = pipe.outcomes[str(n)]
            assert isinstance(outcome, list)
            *notes, response = outcome
            assert [note["params"]["_meta"] for note in notes] == [{META_SUBSCRIPTION: own, "other": 1}] * (2 if n == 1 else 1)
            assert (response["id"], response["result"]["_meta"]) == (own, {META_SUBSCRIPTION: own})


@pytest.mark.parametrize("end", [{"result": {}}, {"result": 5}, {"result": {"_meta": 5}}, {"error": {"code": 1, "message": "no"}}])
async def test_a_subscription_ends_with_whatever_the_server_says(end: Json) -> None:
    async with calls() as pipe:
        wire = (await pipe.call("a", modern("subscriptions/listen", {}, "x")))["id"]
        await pipe.say({"id": wire, **end})
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": "x", **end}]


async def test_a_server_may_end_a_subscription_by_cancelling_it() -> None:
    async with calls() as pipe:
        wire = (await pipe.call("a", modern("subscriptions/listen", {}, "x")))["id"]
        await pipe.say({"method": "notifications/cancelled", "params": {"requestId": wire}})
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": "x", "result": {"resultType": "complete", "_meta": {META_SUBSCRIPTION: "x"}}}]


async def test_it_may_not_end_anything_else_that_way() -> None:
    async with calls() as pipe:
        wire = (await pipe.call("a", tool()))["id"]
        await pipe.say({"method": "notifications/cancelled", "params": {"requestId": wire}}, {"method": "notifications/cancelled"})
        assert pipe.outcomes == {}
        await pipe.say({"id": wire, "result": {}})
        assert pipe.outcomes["a"] == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


LOG: Json = {"method": "notifications/message", "params": {"level": "info", "data": "secret"}}


@pytest.mark.parametrize("token", [None, 1])
async def test_a_log_line_goes_to_the_only_one_who_asked_for_logs(token: Any) -> None:
    async with calls() as pipe:
        await pipe.call("other", tool(1, token))
        wire = (await pipe.call("asker", tool(2, token, **{META_LOG_LEVEL: "info"})))["id"]
        await pipe.say(LOG, {"id": wire, "result": {}})
        assert pipe.outcomes == {"asker": [{"jsonrpc": "2.0", **LOG}, {"jsonrpc": "2.0", "id": 2, "result": {}}]}


@pytest.mark.parametrize("tokens", [[None, None], [None, 1], [1, None], [1, 1]])
async def test_when_several_asked_nobody_gets_anothers_log(tokens: list[Any]) -> None:
    async with calls() as pipe:
        for n, token in enumerate(tokens):
            await pipe.call(str(n), tool(n, token, **{META_LOG_LEVEL: "info"}))
        await pipe.say(LOG, {"id": 1, "result": {}}, {"id": 2, "result": {}})
        assert [len(outcome) for outcome in pipe.outcomes.values() if isinstance(outcome, list)] == [1, 1]
        assert pipe.peer.dropped == 1


@pytest.mark.parametrize(("levels", "line", "gets"), [
    (["error", "debug"], "info", 1), (["debug", "error"], "info", 0), (["error", "warning"], "info", None), (["error", "debug"], "error", None),
    (["error", "loud"], "info", 1), (["error"], "loud", 0), (["error"], "debug", None),
])
async def test_a_log_line_is_only_of_who_asked_for_its_level(levels: list[str], line: str, gets: int | None) -> None:
    async with calls() as pipe:
        for n, level in enumerate(levels):
            await pipe.call(str(n), tool(n, **{META_LOG_LEVEL: level}))
        said = {**LOG, "params": {"level": line, "data": "secret"}}
        await pipe.say(said, *[{"id": n + 1, "result": {}} for n in range(len(levels))])
        told = [int(name) for name, outcome in pipe.outcomes.items() if isinstance(outcome, list) and len(outcome) == 2]
        assert told == ([] if gets is None else [gets])


async def test_when_all_who_asked_are_one_client_it_gets_the_line_once() -> None:
    async with calls(stdio=True) as pipe:
        for n in range(3):
            await pipe.call(str(n), tool(n, **{META_LOG_LEVEL: "info"}))
        await pipe.say(LOG, *[{"id": n + 1, "result": {}} for n in range(3)])
        assert {name: len(outcome) for name, outcome in pipe.outcomes.items() if isinstance(outcome, list)} == {"0": 1, "1": 1, "2": 2}


@pytest.mark.parametrize("meta", [{}, {META_SUBSCRIPTION: 1}])
async def test_a_change_of_the_tools_is_told_to_who_keeps_their_rules(meta: Json) -> None:
    async with calls() as pipe:
        told: list[str] = []
        pipe.peer.on_tools_changed = lambda: told.append("changed")
        await pipe.call("a", modern("subscriptions/listen", {}))
        await pipe.say({"method": "notifications/prompts/list_changed", "params": {"_meta": meta}})
        assert told == []
        await pipe.say({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
        assert told == ["changed"]


async def test_a_modern_server_that_asks_is_told_that_it_may_not() -> None:
    async with calls() as pipe:
        await pipe.call("a", tool())
        await pipe.say({"id": 1, "method": "sampling/createMessage", "params": {}})
        assert [(line["id"], line["error"]["code"]) for line in await pipe.sent()] == [(1, -32600)]
        assert pipe.outcomes == {}


async def test_a_log_line_of_one_who_has_just_left_reaches_nobody() -> None:
    """The server may have written it before it read the cancellation. Its answer to a question that was asked afterwards tells that it has read it."""
    async with calls() as pipe:
        await pipe.call("leaves", tool(1, **{META_LOG_LEVEL: "info"}))
        wire = (await pipe.call("stays", tool(2, **{META_LOG_LEVEL: "info"})))["id"]
        cancelled, question = await pipe.cancel("leaves")
        assert (cancelled["method"], question["method"]) == ("notifications/cancelled", "server/discover")
        await pipe.say(LOG)
        assert pipe.peer.dropped == 1
        await pipe.say({"id": question["id"], "error": {"code": -32601, "message": "whatever"}}, LOG, {"id": wire, "result": {}})
        assert pipe.outcomes["stays"] == [{"jsonrpc": "2.0", **LOG}, {"jsonrpc": "2.0", "id": 2, "result": {}}]
        assert pipe.peer.dropped == 1


async def test_one_who_asked_for_no_logs_leaves_without_a_question() -> None:
    async with calls() as pipe:
        await pipe.call("a", tool())
        assert [line["method"] for line in await pipe.cancel("a")] == ["notifications/cancelled"]


async def test_a_server_that_only_asks_and_never_reads_fills_nothing() -> None:
    async with calls() as pipe:
        for n in range(100_000):
            pipe.peer.deliver(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}' % n)
        assert pipe.peer.outbox.size < 2 << 20


# --- answers that are too large

@pytest.mark.parametrize(("head", "failed"), [
    (b'{"jsonrpc":"2.0","id":2,"result":{"content":', "b"),
    (b'{"jsonrpc": "2.0", "id": 2, "result": {', "b"),
    (b'{"id":2,"jsonrpc":"2.0","error":', "b"),
    (b'{"result":{"id":1,"x":"', None),
    (b'{"jsonrpc":"2.0","method":"notifications/message","params":{"id":1,"x":', None),
    (b'{"jsonrpc":"2.0","id":22,"result":', None),
])
async def test_who_waits_for_a_discarded_answer_is_told_and_nobody_else(head: bytes, failed: str | None) -> None:
    async with calls() as pipe:
        for name in "ab":
            await pipe.call(name, tool())
        pipe.peer.too_large(head)
        await trio.testing.wait_all_tasks_blocked()
        assert list(pipe.outcomes) == ([failed] if failed else [])
        if failed:
            assert isinstance(pipe.outcomes[failed], MessageTooLarge)
