"""A link and its child: who is told what when the child ends, in whatever way; nobody is handed one that has ended."""
from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from cancelling import FOR_EVER, Sword, cancel_everywhere
from dialogue import Json, all_of, modern
from memory_children import MemoryChild, NoWarden, Nursery, spawning

from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.errors import MessageTooLarge, ProxyError, UpstreamExited, UpstreamUnreachable
from shadowproxy.upstream.link import Link

GRACE = 3.0


async def program(child: MemoryChild, message: Json) -> None:
    """Echoes; or does what the method says."""
    match message.get("method"):
        case "hang" | "notifications/cancelled":
            return
        case "die":
            child.exit(3, "first", "last words")
        case "close stdout":
            child.close_stdout()
        case "close stdin":
            child.close_stdin()
        case _ if "id" in message:
            await child.say({"id": message["id"], "result": {"method": message["method"]}})


def config(**limits: int) -> Config:
    return Config(upstream=Upstream(command=("the-server", "--secret")), timeouts=Timeouts(child_grace=GRACE), limits=Limits(**limits))


@asynccontextmanager
async def linked(settings: Config | None = None) -> AsyncIterator[tuple[Link, MemoryChild, Nursery]]:
    """A running link; at the end it is aborted, and its child gone."""
    with spawning(program) as nursery:
        link = Link(settings or config(), NoWarden())  # type: ignore[arg-type]  # whoever spawns does not look at it
        link.era = "modern"
        with trio.fail_after(FOR_EVER):
            async with trio.open_nursery() as tasks:
                await tasks.start(link.run)
                yield link, nursery.children[0], nursery
                link.abort()
        assert nursery.living == []
        assert not link.waiting


async def ask(link: Link, method: str = "echo") -> Json:
    with modern(method) as exchange:
        return (await all_of(await link.call(exchange)))[-1]


async def test_a_question_and_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        assert (await ask(link))["result"] == {"method": "echo"}
        assert link.usable()
        assert child.read[0]["method"] == "echo"


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
async def test_lines_may_come_in_any_pieces(autojump_clock: trio.testing.MockClock, pieces: str) -> None:
    async with linked() as (link, child, _):
        async with trio.open_nursery() as tasks:
            got: list[Json] = []

            async def call() -> None:
                got.append(await ask(link, "hang"))

            tasks.start_soon(call)
            await trio.sleep(1)
            data = b'garbage\n\n\r\n{"jsonrpc":"2.0","id":1,"result":{"text":"\xc3\xa9"}}\r\n{"jsonrpc":"2.0","id":1,"result":{}}\n'
            for piece in [data] if pieces == "whole" else [data[i : i + 1] for i in range(len(data))]:
                await child.write(piece)
                await trio.testing.wait_all_tasks_blocked()
        assert got[0]["result"] == {"text": "\u00e9"}
        assert link.dropped == 2


async def test_its_death_is_told_to_all_who_wait_with_its_last_words(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with linked() as (link, _, _nursery):
        deaths: list[bool] = []
        link.on_death = lambda: deaths.append(link.alive)
        errors: list[UpstreamExited] = []

        async def call(method: str) -> None:
            try:
                await ask(link, method)
            except UpstreamExited as error:
                errors.append(error)

        with caplog.at_level(logging.WARNING, "shadowproxy"):
            async with trio.open_nursery() as tasks:
                for method in ("hang", "hang", "die"):
                    tasks.start_soon(call, method)
        await trio.testing.wait_all_tasks_blocked()
        assert len(errors) == 3
        for error in errors:
            assert error.message == "the server process the-server exited with status 3; its last words on stderr: last words"
            assert error.payload() == {"name": "upstream_exited", "exit_status": 3, "stderr": ["first", "last words"]}
        assert deaths == [False]
        assert not link.alive
        assert "secret" not in caplog.text
        with pytest.raises(UpstreamExited, match="exited with status 3"):
            await ask(link)


async def test_one_whose_output_has_ended_is_not_alive_although_it_still_runs(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        start = trio.current_time()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_fails, link, "close stdout", "the server process the-server closed its output")
            await trio.sleep(0.1)
            assert child.alive
            assert not link.alive, "nobody new is to be handed it"
            assert not link.usable()
        assert trio.current_time() - start == pytest.approx(GRACE)
        await trio.testing.wait_all_tasks_blocked()
        assert not child.alive


async def test_one_that_reads_no_more_is_given_up_although_it_still_runs(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_fails, link, "hang", "does not read its input any more")
            await trio.sleep(1)
            child.close_stdin()
            tasks.start_soon(_fails, link, "echo", "does not read its input any more")
            await trio.sleep(1)
            assert not link.alive
        await trio.testing.wait_all_tasks_blocked()
        assert not child.alive


async def test_what_it_says_after_it_has_stopped_reading_still_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        async with trio.open_nursery() as tasks:
            got: list[Json] = []

            async def call() -> None:
                got.append(await ask(link, "hang"))

            tasks.start_soon(call)
            await trio.sleep(1)
            child.close_stdin()
            tasks.start_soon(_fails, link, "echo", "does not read")
            await trio.sleep(1)
            await child.say({"id": 1, "result": {"late": True}})
        assert got[0]["result"] == {"late": True}


async def _fails(link: Link, method: str, why: str) -> None:
    with pytest.raises(UpstreamExited, match=why):
        await ask(link, method)


async def test_abort_tells_everybody_at_once_and_closes_the_input(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_fails, link, "hang", "shadowproxy")
            await trio.sleep(1)
            link.abort()
            assert not link.alive
            link.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert not child.alive


async def test_one_that_cannot_be_started_raises_before_it_has(autojump_clock: trio.testing.MockClock) -> None:
    with spawning(program) as nursery:
        nursery.refusal = "no such command"
        link = Link(config(), NoWarden())  # type: ignore[arg-type]  # whoever spawns does not look at it
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as tasks:
                await tasks.start(link.run)
        assert caught.group_contains(UpstreamUnreachable, match="no such command")
        assert not link.alive


async def test_a_line_past_the_limit_costs_its_asker_only(autojump_clock: trio.testing.MockClock) -> None:
    async with linked(config(message=1000)) as (link, child, _):
        async with trio.open_nursery() as tasks:
            async def call() -> None:
                with pytest.raises(MessageTooLarge, match=r"larger than 1000 bytes \(limits\.message\)"):
                    await ask(link, "hang")

            tasks.start_soon(call)
            await trio.sleep(1)
            await child.say({"id": 1, "result": "x" * 5000})
        assert (await ask(link))["result"] == {"method": "echo"}
        assert (link.dropped, link.alive) == (1, True)


async def test_a_child_that_reads_slowly_makes_senders_wait_and_their_leaving_leaves_no_half_line(autojump_clock: trio.testing.MockClock) -> None:
    async with linked() as (link, child, _):
        gate, pump = trio.Event(), child.stdin.send_all_hook
        assert pump is not None

        async def later() -> None:
            await gate.wait()
            await pump()

        child.stdin.send_all_hook = later
        big = "x" * (3 << 20)
        async with trio.open_nursery() as tasks:
            async def call() -> None:
                with trio.move_on_after(5), modern("echo", {"big": big}) as exchange:
                    await link.call(exchange)

            for _ in range(6):
                tasks.start_soon(call)
            await trio.sleep(4)
            assert link.outbox.size < 13 << 20, "bounded, beyond one line"
        gate.set()
        assert (await ask(link))["result"] == {"method": "echo"}
        assert all(message["jsonrpc"] == "2.0" for message in child.read)


Check = Callable[[Link], None]


def test_cancelled_at_every_step_nobody_is_left_waiting() -> None:
    async def scenario(sword: Sword) -> None:
        async with linked() as (link, child, _):
            with sword():
                async with trio.open_nursery() as tasks:
                    for method in ("echo", "hang", "echo"):
                        tasks.start_soon(ask, link, method)
                    await trio.sleep(1)
                    tasks.cancel_scope.cancel()
            assert not link.waiting
            assert link.usable()
            assert (await ask(link))["result"] == {"method": "echo"}
            asked = {message["id"] for message in child.read if "id" in message}
            cancelled = [message["params"]["requestId"] for message in child.read if message["method"] == "notifications/cancelled"]
            assert len(cancelled) == len(set(cancelled))
            assert set(cancelled) <= asked

    assert cancel_everywhere(scenario) > 8


def test_cancelled_at_every_step_of_its_own_life_the_child_is_gone() -> None:
    async def scenario(sword: Sword) -> None:
        with spawning(program) as nursery:
            nursery.delay = 0.5
            link = Link(config(), NoWarden())  # type: ignore[arg-type]  # whoever spawns does not look at it
            died: list[bool] = []
            link.on_death = lambda: died.append(True)
            with sword():
                async with trio.open_nursery() as tasks:
                    await tasks.start(link.run)
                    with pytest.raises(ProxyError):
                        await ask(link, "die")
            assert nursery.living == []
            assert not link.alive
            assert len(died) <= 1

    assert cancel_everywhere(scenario) > 5
