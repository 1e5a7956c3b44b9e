"""A tape behind the real endpoint, over HTTP and over stdio, in memory; and a recording of a replay, which is the tape again."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import trio
import trio.testing
from dialogue import META, Json, legacy, modern
from replays import HELLO, asked, handshake, opened, replaying
from tapes import notification, request, response
from wires import open_house

from shadowproxy.config import Config, Record, Replay, Upstream
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.server import open_core
from shadowproxy.tape.frame import Frame, Sse
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.recording.opening import open_recorder
from shadowproxy.tape.replaying.replay import TapeUpstream
from shadowproxy.tape.replaying.replay_opening import open_replay
from shadowproxy.watch import Watch

CALL: Json = {"name": "slow", "_meta": {"progressToken": 5}}


def recorded() -> list[Frame]:
    """A handshake, a listener, a call with progress and a question on its stream, a change that it made, an answer as JSON."""
    return [
        *handshake(), opened(4),
        request(5, "tools/call", CALL, id=5, session="s1", token=msgspec.Raw(b"5")),
        notification(6, "notifications/progress", {"progressToken": 5, "progress": 1}, exchange=5, stream="x5", session="s1", sse=Sse("e1")),
        request(7, "elicitation/create", {"message": "?"}, id=0, dir="s2c", exchange=5, stream="x5", session="s1"),
        response(8, 7, id=0, dir="c2s", exchange=None, session="s1", result={"action": "accept"}),
        notification(9, "notifications/tools/list_changed", exchange=4, stream="g4", session="s1"),
        response(10, 5, id=5, session="s1", stream="x5", result={"done": True}),
        *asked(11, "tools/list", {}, {"tools": []}),
    ]  # fmt: skip


async def test_over_http_as_it_was_recorded(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, recorded()) as tape, open_house(cast(Any, tape)) as house:
        client, second, third = house.connect(), house.connect(), house.connect()
        hello = await client.post(legacy("initialize", HELLO, 0))
        session: dict[str, Any] = {"mcp_session_id": hello["mcp-session-id"]}
        note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        assert (await client.ask(body=note, content_type="application/json", **session)).status == 202
        standing = await second.get(**session)
        stream = await client.stream(legacy("tools/call", {**CALL, "_meta": {"progressToken": "mine"}}, "a"), **session)
        assert await stream.message() == {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "mine", "progress": 1}}
        question = await stream.message()
        assert question is not None
        answer = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}).encode()
        assert (await third.ask(body=answer, content_type="application/json", **session)).status == 202
        assert await standing.message() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        assert await stream.message() == {"jsonrpc": "2.0", "id": "a", "result": {"done": True}}
        assert await stream.message() is None
        tools = await client.post(legacy("tools/list", {}, "b"), **session)
        assert (tools["content-type"], tools.json) == ("application/json", {"jsonrpc": "2.0", "id": "b", "result": {"tools": []}})
        missed = await client.post(legacy("prompts/list", {}, "c"), **session)
        assert (missed.status, missed.json["id"], missed.json["error"]["data"]["name"]) == (200, "c", "tape_miss")
        assert (await client.ask("DELETE", **session)).status == 200
        assert not tape.unused()
        for one in (client, second, third):
            one.leave()


async def test_modern_over_http(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    frames = asked(1, "tools/call", {"name": "a", "_meta": META}, {"resultType": "complete"}, None)
    async with replaying(tmp_path, frames) as tape, open_house(cast(Any, tape)) as house:
        client = house.connect()
        reply = await client.post(modern("tools/call", {"name": "a"}, "now"))
        assert (reply.status, reply.json["id"], reply.json["result"]) == (200, "now", {"resultType": "complete"})
        client.leave()


# ---------------------------------------------------- stdio, and the recording of a replay
class Lines:
    """A client on stdio: lines in, lines out."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self._stream = stream
        self._rest = b""

    async def say(self, *members: Json) -> None:
        await self._stream.send_all(b"".join(json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n" for one in members))

    async def hear(self) -> Json:
        while b"\n" not in self._rest:
            self._rest += await self._stream.receive_some()
        line, _, self._rest = self._rest.partition(b"\n")
        found: Json = json.loads(line)
        return found


async def play(upstream: TapeUpstream, tape: Path) -> list[Json]:
    """The recorded conversation once more, as a stdio client has it, put on a tape of its own; what that client heard."""
    config = Config(upstream=Upstream(command=("none",)), stdio=True)
    ours, theirs = trio.testing.memory_stream_pair()
    heard: list[Json] = []
    watch = Watch()
    try:
        async with open_recorder(Record(path=str(tape), redaction="none"), "") as recorder:
            async with open_core(config, watch, recorder.around(()), upstream) as (gateway, _), trio.open_nursery() as nursery:
                nursery.start_soon(StdioServer(config, gateway, theirs, theirs).run)
                client = Lines(ours)
                await client.say({"id": 0, "method": "initialize", "params": HELLO})
                heard.append(await client.hear())
                await client.say({"method": "notifications/initialized"}, {"id": 5, "method": "tools/call", "params": CALL})
                heard += [await client.hear() for _ in range(2)]
                await client.say({"id": heard[-1]["id"], "result": {"action": "accept"}})
                heard += [await client.hear() for _ in range(2)]
                await client.say({"id": 11, "method": "tools/list", "params": {}})
                heard.append(await client.hear())
                await ours.send_stream.aclose()
    finally:
        watch.close()
    return heard


def essence(frames: Sequence[Frame]) -> list[tuple[Any, ...]]:
    """All but times, numbers, what HTTP says, what was learned, and the end."""
    return [(one.dir, one.kind, one.session, one.method, one.value(), one.stream and one.stream[0]) for one in frames if one.kind not in ("about", "close", "end")]


async def test_over_stdio_and_a_recording_of_it_is_the_tape_again(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    async with replaying(tmp_path, recorded()) as tape:
        heard = await play(tape, first)
    assert [one.get("method") or one["id"] for one in heard] == [
        0, "notifications/progress", "elicitation/create", "notifications/tools/list_changed", 5, 11]  # fmt: skip
    async with open_replay(first, Replay()) as tape:
        assert await play(tape, second) == heard
        assert not tape.unused()
    with Reading(first) as one, Reading(second) as two:
        again = list(two)
        assert essence(again) == essence(list(one))
    assert sorted(map(str, essence(again))) == sorted(map(str, essence(recorded())))
