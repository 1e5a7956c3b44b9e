"""The modern era over stdio, children made of memory: one child for all, what comes after its death, and servers of another era."""
from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from dialogue import LEGACY, Json, legacy, modern
from memory_children import MemoryChild
from stdio_upstreams import ask, begun, legacy_server, server, upstream_of

from shadowproxy.config import Timeouts
from shadowproxy.errors import SpecError, UpstreamBroken, UpstreamExited
from shadowproxy.exchange import Exchange, Session
from shadowproxy.upstream.restarts import FIRST, LAST, STEADY
from shadowproxy.wire.eras import HEADER_MISMATCH, META_SUBSCRIPTION


def call(name: str, id: Any = 1, **arguments: Any) -> Exchange:
    return modern("tools/call", {"name": name, "arguments": arguments}, id)


async def test_one_child_serves_all_modern_clients(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, nursery):
        nursery.delay = 1
        replies: list[Json] = []

        async def use(number: int) -> None:
            replies.extend(await ask(upstream, call("echo", 1, say=number, delay=number % 3)))

        async with trio.open_nursery() as tasks:
            for number in range(20):
                tasks.start_soon(use, number)
        assert {reply["result"]["pid"] for reply in replies} == {replies[0]["result"]["pid"]}
        assert sorted(reply["result"]["said"] for reply in replies) == list(range(20))
        assert sum(message["method"] == "server/discover" for child in nursery.children for message in child.read) == 1


async def test_the_eras_never_share_a_child(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, nursery):
        await ask(upstream, call("echo"))
        await begun(upstream)
        await ask(upstream, call("echo"))
        for child in nursery.children:
            assert not {"initialize", "server/discover"} <= {message["method"] for message in child.read}


async def test_a_dead_one_is_replaced_after_a_while_that_doubles(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=0) as (upstream, nursery):
        waits: list[float] = []
        for _ in range(12):
            start = trio.current_time()
            with pytest.raises(UpstreamExited, match="what a day"):
                await ask(upstream, call("die"))
            waits.append(round(trio.current_time() - start, 6))
        assert waits == [0, *(min(LAST, FIRST * 2**n) for n in range(11))]
        assert upstream.statistics()["child_restarts"] == 12
        assert len(nursery.children) == 12


async def test_one_that_lived_long_is_replaced_at_once_but_for_the_first_pause(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(warm=0) as (upstream, _):
        for _ in range(5):
            with pytest.raises(UpstreamExited):
                await ask(upstream, call("die"))
        await ask(upstream, call("echo"))
        await trio.sleep(STEADY + 1)
        with pytest.raises(UpstreamExited):
            await ask(upstream, call("die"))
        start = trio.current_time()
        await ask(upstream, call("echo"))
        assert trio.current_time() - start == pytest.approx(FIRST)


async def test_one_that_dies_for_days_does_not_take_the_proxy_along(autojump_clock: trio.testing.MockClock) -> None:
    async def broken(child: MemoryChild, message: Json) -> None:
        child.exit(127, "cannot find module")

    async with upstream_of(broken, warm=0) as (upstream, _):
        for _ in range(1100):
            with pytest.raises(UpstreamExited, match="cannot find module"):
                await ask(upstream, call("echo"))
        assert trio.current_time() < 1100 * LAST


@pytest.mark.parametrize("share", [None, False])
async def test_one_that_dies_right_after_it_was_probed_says_why(autojump_clock: trio.testing.MockClock, share: bool | None) -> None:
    async def flash(child: MemoryChild, message: Json) -> None:
        await server(child, message)
        child.exit(1, "cannot open database")

    async with upstream_of(flash, warm=0, pool=1, share=share) as (upstream, nursery):
        for _ in range(3):
            with pytest.raises(UpstreamExited, match="cannot open database"):
                await ask(upstream, call("echo"))
        assert len(nursery.children) <= 6


async def test_all_who_wait_for_the_start_learn_why_it_failed(autojump_clock: trio.testing.MockClock) -> None:
    async def broken(child: MemoryChild, message: Json) -> None:
        await trio.sleep(1)
        child.exit(127, "cannot find module")

    async with upstream_of(broken, warm=0) as (upstream, nursery):
        async with trio.open_nursery() as tasks:
            async def use() -> None:
                with pytest.raises(UpstreamExited, match=r"status 127.*cannot find module"):
                    await ask(upstream, call("echo"))

            for _ in range(5):
                tasks.start_soon(use)
        assert len(nursery.children) == 1


async def test_requests_in_flight_are_lost_with_the_child_and_the_next_one_is_served(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, _):
        outcomes: list[str] = []

        async def use(name: str) -> None:
            try:
                outcomes.append("pid" if "pid" in (await ask(upstream, call(name)))[0]["result"] else "?")
            except UpstreamExited as error:
                outcomes.append(error.message)

        async with trio.open_nursery() as tasks:
            for name in ("hang", "hang", "die"):
                tasks.start_soon(use, name)
        await use("echo")
        assert outcomes == ["the server process the-server exited with status 1; its last words on stderr: what a day"] * 3 + ["pid"]


async def test_one_whose_output_has_ended_is_not_handed_out_while_it_lingers(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of() as (upstream, nursery):
        await ask(upstream, call("echo"))
        modern_one = next(child for child in nursery.children if child.read)
        modern_one.close_stdout()
        await trio.testing.wait_all_tasks_blocked()
        assert modern_one.alive
        assert "result" in (await ask(upstream, call("echo")))[0]


# --- the server's tools change

@pytest.mark.parametrize("share", [None, False])
async def test_a_tool_that_gains_a_mirrored_argument_is_held_to_it_once_the_server_says_so(autojump_clock: trio.testing.MockClock, share: bool | None) -> None:
    mirrored: Json = {}

    async def changing(child: MemoryChild, message: Json) -> None:
        match message["method"]:
            case "tools/list":
                schema = {"type": "object", "properties": {"say": {"type": "string", **mirrored}}}
                return await child.say({"id": message["id"], "result": {"tools": [{"name": "echo", "inputSchema": schema}]}})
            case "subscriptions/listen":
                mirrored["x-mcp-header"] = "Say"
                meta = {"_meta": {META_SUBSCRIPTION: message["id"]}}
                await child.say({"method": "notifications/tools/list_changed", "params": meta})
                return await child.say({"id": message["id"], "result": meta})
        await server(child, message)

    async with upstream_of(changing, share=share) as (upstream, _):
        assert "result" in (await ask(upstream, call("echo", say="hi")))[0]
        assert (await ask(upstream, modern("subscriptions/listen", {})))[0]["method"] == "notifications/tools/list_changed"
        with pytest.raises(SpecError) as caught:
            await ask(upstream, call("echo", say="hi"))
        assert caught.value.rpc_code == HEADER_MISMATCH


@pytest.mark.parametrize("code", [HEADER_MISMATCH, -32602])
async def test_a_mismatch_that_the_server_finds_makes_its_rules_be_asked_for_anew(autojump_clock: trio.testing.MockClock, code: int) -> None:
    async def strict(child: MemoryChild, message: Json) -> None:
        if message["method"] == "tools/call":
            return await child.say({"id": message["id"], "error": {"code": code, "message": "no"}})
        await server(child, message)

    async with upstream_of(strict) as (upstream, nursery):
        for _ in range(3):
            assert (await ask(upstream, call("echo")))[0]["error"]["code"] == code
        listed = sum(message["method"] == "tools/list" for child in nursery.children for message in child.read)
        assert listed == (3 if code == HEADER_MISMATCH else 1)


# --- modern, but the server is not

async def test_a_modern_request_at_a_legacy_server_gets_the_specifications_own_error(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream_of(legacy_server) as (upstream, nursery):
        for _ in range(3):
            with pytest.raises(SpecError) as caught:
                await ask(upstream, call("echo"))
            assert (caught.value.http_status, caught.value.rpc_code) == (400, -32022)
            assert caught.value.payload() == {"supported": ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"], "requested": "2026-07-28"}
        session = await begun(upstream)
        assert "result" in (await ask(upstream, legacy("tools/call", {"name": "echo"}, 1, session)))[0]
        assert sum(message["method"] == "server/discover" for child in nursery.children for message in child.read) == 1, "it is asked once"


async def test_legacy_initialize_at_a_modern_only_server_gets_the_servers_own_error(autojump_clock: trio.testing.MockClock) -> None:
    async def modern_only(child: MemoryChild, message: Json) -> None:
        if message.get("method") == "initialize":
            return await child.say({"id": message["id"], "error": {"code": -32022, "message": "modern only", "data": {"supported": ["2026-07-28"]}}})
        await server(child, message)

    async with upstream_of(modern_only) as (upstream, _):
        exchange = legacy("initialize", {"protocolVersion": LEGACY}, 5, Session(b"x"))
        assert (await ask(upstream, exchange))[0]["error"]["message"] == "modern only"


async def test_a_server_that_does_not_answer_is_given_up_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(child: MemoryChild, message: Json) -> None:
        return

    async with upstream_of(silent, timeouts=Timeouts(request=4)) as (upstream, nursery):
        with pytest.raises(UpstreamBroken, match=r"did not answer server/discover within 4 s \(timeouts\.request\)"):
            await ask(upstream, call("echo"))
        assert trio.current_time() == 4
        await trio.testing.wait_all_tasks_blocked()
        assert sum(bool(child.read) for child in nursery.living) == 0
