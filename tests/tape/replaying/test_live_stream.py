"""What a live server says unasked: it reaches who listens, beside the tape's own stream or where there is none, from when it was first asked anything."""
from __future__ import annotations

from pathlib import Path

import pytest
import trio
from dialogue import Json, listening, message
from fakes import FakeUpstream, Feed, failing, feeding, note
from replays import Caller, handshake, opened, replaying, tool
from tapes import notification

from shadowproxy.errors import UpstreamAnswered, UpstreamBroken
from shadowproxy.exchange import Exchange, Replies
from shadowproxy.tape.reader import Reading
from shadowproxy.wire.jsonrpc import Message

A: Json = {"name": "a"}
NEW: Json = {"name": "new"}
CHANGED = "notifications/tools/list_changed"
TAPE = [*handshake(), opened(4), *tool(5, A, {"of": "tape"}), notification(7, CHANGED, {"of": "tape"}, exchange=4, stream="g4", session="s1", t=60.0)]
SILENT = [*handshake(), *tool(4, A, {"of": "tape"})]
NO_STREAM = UpstreamAnswered(405, (), b"")


def live_with(feed: Feed) -> FakeUpstream:
    live = FakeUpstream()
    live.on_listen = feeding(feed)
    return live


def of(client: Caller) -> list[str]:
    return [one["params"]["of"] for one in client.heard]


async def test_beside_the_tape_s_own(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Before, between and after what the tape says, also while that waits for its time."""
    feed = Feed()
    live = live_with(feed)
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward", timing="recorded") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        scope = await nursery.start(client.listen)
        await trio.sleep(1)
        assert live.listeners == [], "no session, no stream"
        await client.call("tools/call", NEW)
        [listener] = live.listeners
        assert listener.session is live.calls[0].session
        feed.put(note(CHANGED, of="live 1"), note(CHANGED, of="live 2"))
        await client.call("tools/call", A)
        await trio.sleep(1)
        feed.put(note(CHANGED, of="live 3"))
        await trio.sleep(1)
        assert of(client) == ["live 1", "live 2", "live 3"]
        await trio.sleep(100)
        feed.put(note(CHANGED, of="live 4"))
        await trio.sleep(1)
        assert of(client)[3:] == ["tape", "live 4"]
        scope.cancel()
        await trio.sleep(1)
        assert not live.open, "its client has left"


async def test_a_question_of_the_live_server_s_is_answered_to_it(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    feed = Feed(message(id="q", method="roots/list"))
    live = live_with(feed)
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        await trio.sleep(1)
        assert [one["id"] for one in client.heard] == ["q"]
        await client.answer("q", {"roots": []})
        assert live.notes[-1].request.is_response
        nursery.cancel_scope.cancel()


async def test_where_the_tape_has_no_stream(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """It opens at once, is silent until there is a live session, and ends when the live server ends it."""
    feed = Feed(note(CHANGED, of="live"))
    live = live_with(feed)
    async with replaying(tmp_path, SILENT, live=live, on_miss="forward") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await trio.sleep(1)
        assert client.heard == []
        await client.call("tools/call", NEW)
        await trio.sleep(1)
        assert of(client) == ["live"]
        feed.end()
        await trio.sleep(1)
        assert not nursery.child_tasks


async def test_a_live_server_that_offers_none(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """Who listens already has a stream that ends; who comes after that hears it in the server's words. The tape's stream is not touched by it."""
    live = FakeUpstream()
    async with replaying(tmp_path, SILENT, live=live, on_miss="forward") as tape, trio.open_nursery() as nursery:
        live.on_listen = failing(NO_STREAM)  # type: ignore[assignment]  # it raises whatever it is for
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        await trio.sleep(1)
        assert not nursery.child_tasks
        with pytest.raises(UpstreamAnswered), listening(client.session) as exchange:
            await tape.listen(exchange)
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        await client.call("tools/call", A)
        await trio.sleep(1)
        assert of(client) == ["tape"]
        nursery.cancel_scope.cancel()


async def test_a_newer_listener_has_it_and_a_session_begun_anew_is_listened_to_again(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    feeds: list[Feed] = []

    async def on_listen(exchange: Exchange) -> Replies:
        await trio.lowlevel.checkpoint()
        feeds.append(Feed())
        return feeds[-1]

    live = FakeUpstream()
    live.on_listen = on_listen
    async with replaying(tmp_path, TAPE, live=live, on_miss="forward") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        await nursery.start(client.listen)
        await trio.sleep(1)
        assert len(feeds) == 2
        assert len(nursery.child_tasks) == 1
        feeds[1].put(UpstreamBroken("cut off"))
        theirs = live.calls[0].session
        assert theirs is not None
        theirs.end()
        await client.call("tools/call", NEW)
        feeds[2].put(note(CHANGED, of="live"))
        await trio.sleep(1)
        assert of(client) == ["live"]
        nursery.cancel_scope.cancel()


async def test_a_slow_client_is_waited_for(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    feed = Feed(*[note(CHANGED, of=str(number)) for number in range(5)])
    async with replaying(tmp_path, TAPE, live=live_with(feed), on_miss="forward") as tape:
        client = Caller(tape)
        await client.greet()
        with listening(client.session) as exchange:
            replies = await tape.listen(exchange)
            await client.call("tools/call", NEW)
            await trio.sleep(1)
            assert feed.waiting == 3, "one waits to be taken, and one for its place"
            for _ in range(5):
                assert isinstance(await anext(replies), Message)


async def test_what_is_recorded_of_it_is_heard_the_next_time(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    feed = Feed()
    async with replaying(tmp_path, TAPE, live=live_with(feed), on_miss="record") as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        feed.put(note(CHANGED, of="live"))
        await trio.sleep(1)
        assert of(client) == ["live"]
        nursery.cancel_scope.cancel()
    with Reading(tmp_path / "tape.jsonl") as reading:
        frames = list(reading)
    async with replaying(tmp_path, frames) as tape, trio.open_nursery() as nursery:
        client = Caller(tape)
        await client.greet()
        await nursery.start(client.listen)
        await client.call("tools/call", NEW)
        await trio.sleep(1)
        assert of(client) == ["live"]
        nursery.cancel_scope.cancel()
