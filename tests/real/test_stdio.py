"""The stdio upstream over real children: one each, one for all, and what is told when one dies. Wall clock, conditions with deadlines."""
from __future__ import annotations

import os
import signal
import sys

import pytest
import trio
from actors import GRACE, actors, ask, begun, old_tool, result, running_still, tool
from dialogue import LEGACY, legacy, listening
from programs import until

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import MessageTooLarge, Overloaded, ProxyError, SpecError, UpstreamBroken, UpstreamExited, UpstreamUnreachable
from shadowproxy.exchange import Session
from shadowproxy.upstream.stdio import StdioUpstream

# --- whose child

async def test_a_legacy_session_has_a_child_of_its_own_as_long_as_it_lasts() -> None:
    async with actors() as upstream:
        sessions = [await begun(upstream) for _ in range(3)]
        pids = [(await result(upstream, old_tool(session, "echo")))["pid"] for session in sessions]
        assert len(set(pids)) == 3
        with listening(sessions[0]) as exchange:
            await upstream.end(exchange)
        await until(lambda: not running_still(pids[0]))
        assert [(await result(upstream, old_tool(session, "echo")))["pid"] for session in sessions[1:]] == pids[1:]
        for session in sessions:
            session.end()
        await until(lambda: not any(running_still(pid) for pid in pids))


async def test_the_warm_child_is_the_next_sessions_and_another_takes_its_place() -> None:
    async with actors(warm=1) as upstream:
        await until(lambda: upstream.statistics()["children_warm"] == 1)
        for number in range(1, 4):
            await begun(upstream)
            await until(lambda number=number: upstream.statistics()["children_spawned"] == number + 1)  # type: ignore[misc]  # bound at once
            await until(lambda: upstream.statistics()["children_warm"] == 1)


async def test_any_number_of_modern_requests_is_one_process() -> None:
    async with actors() as upstream:
        pids = {(await result(upstream, tool("echo", number)))["pid"] for number in range(50)}
        async with trio.open_nursery() as nursery:
            async def use() -> None:
                pids.add((await result(upstream, tool("echo")))["pid"])

            for _ in range(50):
                nursery.start_soon(use)
        assert len(pids) == 1
        assert upstream.statistics()["children_spawned"] == 1


async def test_leased_children_serve_one_exchange_at_a_time() -> None:
    async with actors(share=False) as upstream:
        hanging = [tool("hang", number) for number in range(2)]
        async with trio.open_nursery() as nursery:
            for exchange in hanging:
                nursery.start_soon(ask, upstream, exchange)
            await until(lambda: upstream.statistics()["children"] == 2)
            pids = {(await result(upstream, tool("echo")))["pid"] for _ in range(5)}
            assert len(pids) == 1
            assert upstream.statistics()["children"] == 3
            nursery.cancel_scope.cancel()
        assert (await result(upstream, tool("seen")))["seen"][-1]["method"] == "tools/call"
        assert upstream.statistics()["children"] == 3


async def test_past_the_pool_there_is_nothing_to_lease() -> None:
    async with actors(share=False, pool=1, timeouts=Timeouts(queue=0.2, child_grace=GRACE)) as upstream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, upstream, tool("hang"))
            await until(lambda: upstream.statistics()["children"] == 1)
            with pytest.raises(Overloaded, match=r"all 1 children"):
                await ask(upstream, tool("echo"))
            with pytest.raises(Overloaded, match=r"all 1 children"):
                await begun(upstream)
            nursery.cancel_scope.cancel()
        assert (await result(upstream, tool("echo")))["arguments"] == {}


# --- deaths

async def test_the_error_carries_status_and_last_words_and_the_proxy_lives_on() -> None:
    async with actors() as upstream:
        before = (await result(upstream, tool("echo")))["pid"]
        for status in (0, 3):
            with pytest.raises(UpstreamExited) as caught:
                await ask(upstream, tool("die", status=status, words="one\ntwo\nthree"))
            assert caught.value.payload() == {"name": "upstream_exited", "exit_status": status, "stderr": ["one", "two", "three"]}
            assert f"exited with status {status}; its last words on stderr: three" in caught.value.message
        after = (await result(upstream, tool("echo")))["pid"]
        assert after != before
        assert not running_still(before)
        assert upstream.statistics()["child_restarts"] == 2


async def test_all_who_wait_are_told_and_nobody_is_handed_the_dead_one() -> None:
    async with actors() as upstream:
        pid = (await result(upstream, tool("echo")))["pid"]
        errors: list[ProxyError] = []

        async def use() -> None:
            try:
                await ask(upstream, tool("hang"))
            except UpstreamExited as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(use)
            await until(lambda: upstream._modern is not None and len(upstream._modern.waiting) == 20)
            os.kill(pid, signal.SIGKILL)
        assert {error.message for error in errors} == {f"the server process {sys.executable} was killed by SIGKILL"}
        assert len(errors) == 20
        assert (await result(upstream, tool("echo")))["pid"] != pid


async def test_a_legacy_childs_death_ends_its_session_only() -> None:
    async with actors() as upstream:
        one, other = await begun(upstream), await begun(upstream)
        with pytest.raises(UpstreamExited, match="status 5"):
            await ask(upstream, old_tool(one, "die", status=5))
        await until(lambda: one.ended)
        assert "pid" in await result(upstream, old_tool(other, "echo"))


async def test_one_that_dies_at_its_start_says_why_every_time() -> None:
    async with actors("--at-start", "die") as upstream:
        for _ in range(3):
            with pytest.raises(UpstreamExited, match="status 7; its last words on stderr:   cannot find module 'left-pad'"):
                await ask(upstream, tool("echo"))
            with pytest.raises(UpstreamExited, match="left-pad"):
                await begun(upstream)
        await until(lambda: upstream.statistics()["children"] == 0)


@pytest.mark.parametrize(("command", "why"), [
    (("no-such-server-anywhere",), "it is not in PATH"), (("/no/such/server",), "there is no such file"), (("/etc/passwd",), "it may not be executed"),
])
async def test_a_command_that_cannot_be_started(command: tuple[str, ...], why: str) -> None:
    async with actors(command=command, warm=1) as upstream:
        with pytest.raises(UpstreamUnreachable, match=why):
            await ask(upstream, tool("echo"))
        with pytest.raises(UpstreamUnreachable, match=why):
            await begun(upstream)
        await until(lambda: upstream.statistics()["children"] == 0)


@pytest.mark.parametrize(("fd", "why"), [(0, "does not read its input any more"), (1, "closed its output")])
async def test_one_that_closes_a_pipe_and_lives_on_is_replaced(fd: int, why: str) -> None:
    async with actors() as upstream:
        pid = (await result(upstream, tool("echo")))["pid"]

        async def close() -> None:
            with pytest.raises(UpstreamExited, match=why):
                await ask(upstream, tool("close", fd=fd))

        async def ask_on() -> None:
            """A closed input is noticed by whoever writes next; that one gets an answer from another child, or the reason."""
            while True:
                try:
                    if (await result(upstream, tool("echo")))["pid"] != pid:
                        return
                except UpstreamExited:
                    pass
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            await until(lambda: upstream._modern is not None and upstream._modern.waiting)
            nursery.start_soon(ask_on)
        await until(lambda: not running_still(pid))


async def test_what_was_not_ended_by_a_newline_is_no_answer() -> None:
    async with actors() as upstream:
        with pytest.raises(UpstreamExited, match="status 0"):
            await ask(upstream, tool("unfinished"))


async def test_one_that_ignores_everything_is_gone_in_time() -> None:
    with trio.fail_after(10 * GRACE):
        async with actors("--deaf") as upstream:
            pid = (await result(upstream, tool("echo")))["pid"]
            session = await begun(upstream)
            started = trio.current_time()
        assert trio.current_time() - started < 4 * GRACE
    assert not running_still(pid)
    assert session.ended


# --- eras

async def test_a_modern_request_at_a_legacy_server() -> None:
    async with actors("--era", "legacy") as upstream:
        for _ in range(2):
            with pytest.raises(SpecError) as caught:
                await ask(upstream, tool("echo"))
            assert (caught.value.http_status, caught.value.rpc_code, caught.value.payload()["requested"]) == (400, -32022, "2026-07-28")
        assert "pid" in await result(upstream, old_tool(await begun(upstream), "echo"))
        assert upstream.statistics()["children_spawned"] == 2


async def test_legacy_initialize_at_a_modern_server_gets_its_own_error() -> None:
    async with actors("--era", "modern") as upstream:
        reply = (await ask(upstream, legacy("initialize", {"protocolVersion": LEGACY}, 0, Session(b"s"))))[0]
        assert (reply["id"], reply["error"]["code"], reply["error"]["message"]) == (0, -32022, "modern only")
        assert "pid" in await result(upstream, tool("echo"))


async def test_one_that_never_answers_is_given_up_in_time() -> None:
    async with actors("--at-start", "mute", timeouts=Timeouts(request=0.5, child_grace=GRACE)) as upstream:
        with pytest.raises(UpstreamBroken, match=r"within 0\.5 s \(timeouts\.request\)"):
            await ask(upstream, tool("echo"))
        await until(lambda: upstream.statistics()["children"] == 0)


# --- bad manners

async def test_garbage_wrong_ids_and_second_answers_reach_nobody() -> None:
    async with actors("--at-start", "chatter") as upstream:
        for use in (tool("garble"), old_tool(await begun(upstream), "garble")):
            assert await ask(upstream, use) == [{"jsonrpc": "2.0", "id": 1, "result": {"good": True}}]
        assert "pid" in await result(upstream, tool("echo"))


async def test_an_answer_past_the_limit_costs_its_asker_only() -> None:
    async with actors(limits=Limits(message=100_000)) as upstream:
        with pytest.raises(MessageTooLarge):
            await ask(upstream, tool("huge", size=200_000))
        assert len((await result(upstream, tool("huge", size=90_000)))["text"]) == 90_000
        assert upstream.statistics()["children_spawned"] == 1


async def test_large_messages_cross_both_ways_whole() -> None:
    async with actors() as upstream:
        big = "\u00e9" * 2_000_000
        assert (await result(upstream, tool("echo", text=big)))["arguments"] == {"text": big}


async def test_clients_that_leave_in_the_middle_of_a_large_request_leave_no_half_line() -> None:
    async with actors() as upstream:
        big = "x" * 3_000_000
        async with trio.open_nursery() as nursery:
            async def use(patience: float) -> None:
                with trio.move_on_after(patience):
                    await ask(upstream, tool("echo", text=big))

            for number in range(12):
                nursery.start_soon(use, number * 0.01)
        assert (await result(upstream, tool("echo", text="still here")))["arguments"] == {"text": "still here"}
        assert upstream.statistics()["children_spawned"] == 1


# --- warm ones that were killed a moment ago

async def test_a_warm_one_that_was_killed_a_moment_ago_is_not_lent() -> None:
    async with actors(warm=1) as upstream:
        for _ in range(3):
            await until(lambda: upstream.statistics()["children_warm"] == 1)
            pid = warm_pid(upstream)
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # the kernel knows; the proxy has not had a turn since
            assert (await result(upstream, old_tool(await begun(upstream), "echo")))["pid"] != pid


async def test_one_that_is_killed_with_initialize_on_its_way_to_it_is_replaced() -> None:
    async with actors(warm=1) as upstream:
        await until(lambda: upstream.statistics()["children_warm"] == 1)
        pid = warm_pid(upstream)
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begun, upstream)
            await until(lambda: upstream.statistics()["children_spawned"] == 2)  # it was lent, and another is warmed
            os.kill(pid, signal.SIGKILL)
        assert upstream.statistics()["child_restarts"] == 1
        assert not running_still(pid)


def warm_pid(upstream: StdioUpstream) -> int:
    (link,) = upstream._warm._links
    assert link.child is not None
    return link.child.pid
