"""Refusals, recorded, replayed and recorded again: the same to the client, and the same on both tapes."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import trio
from dialogue import legacy
from fakes import FakeUpstream, Feed, echo, feeding, note
from replays import HELLO, replaying
from taping import Memory, recording, told
from wires import Client, Response, open_house

from shadowproxy.errors import Overloaded, SpecError, UpstreamAnswered, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Replies, Reply
from shadowproxy.tape.frame import Frame

TEXT = UpstreamAnswered(401, ((b"content-type", b"text/plain"), (b"cache-control", b"no-store"), (b"www-authenticate", b"Bearer")), b"who?")
FAILURES: dict[str | None, Exception] = {
    "down": UpstreamUnreachable("nobody there", {"tried": 2}), "text": TEXT, "wrong": SpecError(400, -32602, "no"), "full": Overloaded("later"),
    "json": UpstreamAnswered(403, ((b"content-type", b"application/json"),), b'{"why":"so"}'),
}  # fmt: skip


async def failing(exchange: Exchange) -> Reply:
    method = exchange.request.method
    if method in ("midway", "at once"):
        return await feeding(Feed(*[note()] * (method == "midway"), UpstreamBroken("cut off", {"after": 1})))(exchange)
    await trio.lowlevel.checkpoint()
    if method in FAILURES:
        raise FAILURES[method]
    return await echo(exchange)


async def not_said(exchange: Exchange) -> None:
    await trio.lowlevel.checkpoint()
    if exchange.request.method == "notifications/odd":
        raise UpstreamAnswered(404, (), b"what?")


async def not_offered(exchange: Exchange) -> Replies:
    await trio.lowlevel.checkpoint()
    raise SpecError(405, -32000, "no stream here")


async def not_ended(exchange: Exchange) -> None:
    await trio.lowlevel.checkpoint()
    raise UpstreamAnswered(405, (), b"")


async def converse(client: Client) -> list[Response]:
    """All of it, by HTTP."""
    heard = [await client.post(legacy("initialize", HELLO, 0))]
    session: dict[str, Any] = {"mcp_session_id": heard[0]["mcp-session-id"]}

    async def tell(method: str) -> Response:
        return await client.ask(body=json.dumps({"jsonrpc": "2.0", "method": method}).encode(), content_type="application/json", **session)

    heard += [await tell("notifications/initialized"), await tell("notifications/odd")]
    heard += [await client.post(legacy(method, {}, id), **session) for id, method in enumerate(["down", "text", "wrong", "full", "json", "midway", "at once", "fine"])]
    heard += [await client.ask("GET", accept="text/event-stream", **session), await client.ask("DELETE", **session), await tell("notifications/odd")]
    client.leave()
    return heard


async def recorded(upstream: Any) -> tuple[list[Response], list[Frame]]:
    memory = Memory()
    async with recording(memory) as recorder, open_house(upstream, recorder.around(())) as house:
        heard = await converse(house.connect())
    return heard, memory.frames


def essence(frames: list[Frame]) -> list[tuple[Any, ...]]:
    return [(told(one), one.text, one.value(), one.http and one.http.headers) for one in frames]


def as_heard(one: Response) -> tuple[Any, ...]:
    return one.status, one["content-type"], one["www-authenticate"], one["cache-control"], one.body


def refusing() -> FakeUpstream:
    upstream = FakeUpstream(failing)
    upstream.on_notify, upstream.on_listen, upstream.on_end = not_said, not_offered, not_ended
    return upstream


async def test_they_come_as_they_came_and_are_recorded_as_they_were(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    heard, frames = await recorded(refusing())
    async with replaying(tmp_path, frames) as tape:
        again, frames_again = await recorded(tape)
    assert list(map(as_heard, again)) == list(map(as_heard, heard))
    assert essence(frames_again) == essence(frames)
    assert [one.status for one in heard] == [200, 202, 404, 502, 401, 400, 503, 403, 200, 200, 200, 405, 405, 404], "what was to be refused, was"
    assert sum(one.kind == "refusal" for one in frames) == 11


async def test_where_there_was_no_http_a_status_is_found_by_the_error_s_name(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    _, frames = await recorded(refusing())
    async with replaying(tmp_path, [msgspec.structs.replace(one, http=None) for one in frames if one.kind != "open"]) as tape:
        heard, _ = await recorded(tape)
    assert [one.status for one in heard[3:8]] == [502, 502, 502, 503, 502]
