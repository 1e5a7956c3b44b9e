"""What a tape says of a client on a pair of pipes: no fields, one session, cancellations by name, deadlines, the drain; and of the whole proxy over each
wire, with a real upstream of each kind behind."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pipes import Pipe, open_pipe
from typing import Any, cast

import pytest
import trio
from dialogue import LEGACY, NO_ID, POST, Json, legacy, message, modern
from fakes import FakeUpstream, Feed, OnCall, answer_to, echo, failing, feeding, hang, note
from http_upstreams import upstream_for
from memory_children import MemoryChild
from peers import Asked, Wire
from stdio_upstreams import upstream_of
from taping import Memory, recording
from trio.testing import MockClock, wait_all_tasks_blocked
from wires import open_house

from shadowproxy.config import Limits, Timeouts
from shadowproxy.errors import UpstreamAnswered
from shadowproxy.exchange import Exchange, Reply

INITIALIZE = legacy("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}, id=0)
INITIALIZED = legacy("notifications/initialized", id=NO_ID)
ERAS = pytest.mark.parametrize("exchange", [legacy("x", id="a"), modern("x", id="a")], ids=["legacy", "modern"])


def cancel(id: object) -> Json:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}


def asked(exchange: Exchange) -> str:
    return f'> request x #1{" session=s1" if exchange.era == "legacy" else ""} id="a"'


@asynccontextmanager
async def recorded(on_call: OnCall, **settings: Any) -> AsyncIterator[tuple[Pipe, Memory]]:
    memory = Memory()
    async with recording(memory) as recorder, open_pipe(FakeUpstream(on_call), recorder.around(()), **settings) as pipe:
        yield pipe, memory


async def test_a_legacy_conversation_from_its_handshake_to_its_end(autojump_clock: MockClock) -> None:
    feed = Feed(note("notifications/tools/list_changed"))

    async def call(exchange: Exchange) -> Reply:
        if exchange.request.method == "initialize":
            return answer_to(exchange, protocolVersion=LEGACY, serverInfo={"name": "s"})
        return Feed(note(progress=1), message(id="q", method="roots/list"), answer_to(exchange), ended=True)

    async with recorded(call) as (pipe, memory):
        pipe.upstream.on_listen = feeding(feed)
        await pipe.say(INITIALIZE)
        await pipe.hear()
        await pipe.say(INITIALIZED)
        await pipe.hear()
        await pipe.say(legacy("tools/call", {"name": "x"}))
        for _ in range(3):
            await pipe.hear()
        await pipe.say(message(id="q", result={"roots": []}))
        await wait_all_tasks_blocked()
        pipe.end()
        await pipe.hear_all()
    assert memory.told == [
        "> request initialize #1 session=s1 id=0",
        "< response #1 session=s1 id=0 re=1",
        "< about session=s1",
        "> notification notifications/initialized session=s1",
        "> open #2 @g2 session=s1",
        "< notification notifications/tools/list_changed #2 @g2 session=s1",
        "> request tools/call #3 session=s1 id=1",
        "< notification notifications/progress #3 @x3 session=s1",
        '< request roots/list #3 @x3 session=s1 id="q"',
        "< response #3 @x3 session=s1 id=1 re=7",
        '> response session=s1 id="q" re=9',
        "< close #2 @g2 session=s1",
        "> end session=s1",
    ]


@ERAS
async def test_a_refusal_has_no_status_here(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(failing(UpstreamAnswered(401, ((b"www-authenticate", b"Bearer"),), b"no"))) as (pipe, memory):
        await pipe.say(exchange)
        heard = await pipe.hear()
    assert memory.told == [asked(exchange), asked(exchange).replace("> request x", "< refusal") + " re=1 upstream_refused"]
    assert memory.frames[1].value() == heard


@ERAS
async def test_a_deadline(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(hang, timeouts=Timeouts(request=7)) as (pipe, memory):
        await pipe.say(exchange)
        heard = await pipe.hear()
    assert [line.partition(" id=")[2] for line in memory.told] == ['"a"', '"a" re=1 upstream_timeout']
    assert (memory.frames[1].kind, memory.frames[1].value()) == ("refusal", heard)


@ERAS
async def test_a_request_that_is_not_admitted(autojump_clock: MockClock, exchange: Exchange) -> None:
    async with recorded(hang, limits=Limits(exchanges=1, queue=1), timeouts=Timeouts(queue=3)) as (pipe, memory):
        await pipe.say(modern("first", id=0))
        await pipe.say(exchange)
        assert (await pipe.hear())["error"]["code"] == 1101
    assert [frame.kind for frame in memory.frames] == ["request", "request", "refusal"]
    assert (memory.frames[2].re, memory.frames[2].exchange) == (2, 2)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_legacy_cancellation(autojump_clock: MockClock, streamed: bool) -> None:
    async with recorded(feeding(Feed(note())) if streamed else hang) as (pipe, memory):
        await pipe.say(legacy("x", id="a"))
        await wait_all_tasks_blocked()
        await pipe.say(cancel("a"))
        await wait_all_tasks_blocked()
    assert memory.lines("notification")[-1] == "> notification notifications/cancelled session=s1"
    assert memory.told[-1] == "> cancelled #1 session=s1 re=1"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_modern_cancellation_is_on_tape_though_no_server_hears_of_it_as_such(autojump_clock: MockClock, streamed: bool) -> None:
    async with recorded(feeding(Feed(note())) if streamed else hang) as (pipe, memory):
        await pipe.say(modern("x", id="a"))
        await wait_all_tasks_blocked()
        await pipe.say(cancel("a"))
        await wait_all_tasks_blocked()
        assert pipe.upstream.notes == []
    assert memory.told[-2:] == ["> notification notifications/cancelled", "> cancelled #1 re=1"]
    assert memory.frames[-2].value() == cancel("a")


async def test_a_cancellation_before_the_request_was_admitted(autojump_clock: MockClock) -> None:
    async with recorded(hang, limits=Limits(exchanges=1)) as (pipe, memory):
        await pipe.say(modern("first", id=0), modern("x", id="a"))
        await wait_all_tasks_blocked()
        await pipe.say(cancel("a"))
        await wait_all_tasks_blocked()
    assert memory.told == ["> request first #1 id=0", "> notification notifications/cancelled"]


async def test_the_drain_tells_what_it_ends(autojump_clock: MockClock) -> None:
    async def call(exchange: Exchange) -> Reply:
        return Feed(note()) if exchange.request.method == "subscriptions/listen" else await hang(exchange)

    async with recorded(call, timeouts=Timeouts(drain=3)) as (pipe, memory):
        await pipe.say(modern("subscriptions/listen", id="sub"), modern("x", id="a"), legacy("x", id="b"))
        await pipe.hear()
        pipe.end()
        heard = await pipe.hear_all()
    assert sorted(str(one["id"]) for one in heard) == ["a", "b", "sub"]
    ends = [frame for frame in memory.frames if frame.dir == "s2c" and frame.kind != "notification"]
    numbers = {bytes(frame.id or b""): frame.n for frame in memory.frames if frame.kind == "request"}
    assert sorted(frame.kind for frame in ends) == ["refusal", "refusal", "response"]
    assert all(frame.re == numbers[bytes(frame.id or b"")] for frame in ends)
    assert sorted(heard, key=str) == sorted((frame.value() for frame in ends), key=str)
    assert memory.lines("cancelled") == []


# ---------------------------------------------------- both wires, both upstreams
async def child(child: MemoryChild, one: Json) -> None:
    """A legacy server: asks for the roots while it is called."""
    match one.get("method"):
        case "initialize":
            await child.say({"id": one["id"], "result": {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": "s"}}})
        case "server/discover":
            await child.say({"id": one["id"], "error": {"code": -32601, "message": "no"}})
        case "tools/call":
            child.call = one["id"]  # type: ignore[attr-defined]
            await child.say({"method": "notifications/progress", "params": {"progressToken": one["params"]["_meta"]["progressToken"], "progress": 1}})
            await child.say({"id": "q", "method": "roots/list"})
        case None:
            await child.say({"id": child.call, "result": {}})  # type: ignore[attr-defined]


class Server:
    """The same over HTTP."""

    def __init__(self) -> None:
        self._answered = trio.Event()

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        if asked.method != "POST":
            return await wire.answer(405 if asked.method == "GET" else 200)
        match asked.message.get("method"):
            case "initialize":
                result = {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": "s"}}
                await wire.json({"id": asked.message["id"], "result": result}, mcp_session_id="up")
            case "tools/call":
                await wire.begin_events()
                token = asked.message["params"]["_meta"]["progressToken"]
                await wire.event({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
                await wire.event({"id": "q", "method": "roots/list"})
                await self._answered.wait()
                await wire.event({"id": asked.message["id"], "result": {}})
                await wire.end_events()
            case method:
                if method is None:
                    self._answered.set()
                await wire.answer(202)


@asynccontextmanager
async def upstreams(behind: str) -> AsyncIterator[FakeUpstream]:
    """Typed as what the houses take; it is a real one."""
    if behind == "http":
        async with upstream_for(Server()) as (upstream, _):
            yield cast(FakeUpstream, upstream)
    else:
        async with upstream_of(child) as (children, _):
            yield cast(FakeUpstream, children)


CALL = legacy("tools/call", {"name": "x", "_meta": {"progressToken": "t"}}, id="c")
ESSENCE = [
    "> request initialize", "< response", "< about", "> notification notifications/initialized", "> request tools/call", "< notification notifications/progress",
    "< request roots/list", "> response", "< response", "> end",
]  # fmt: skip
"""What every one of the four tapes says, but for streams that stand."""


def essence(memory: Memory) -> list[str]:
    return [line.partition(" #")[0].partition(" session=")[0] for line in memory.told if not line.startswith(("> open", "< close", "< refusal", "> cancelled"))]


@pytest.mark.parametrize("behind", ["http", "stdio"])
async def test_the_same_conversation_over_http(autojump_clock: MockClock, behind: str) -> None:
    memory = Memory()
    async with upstreams(behind) as upstream, recording(memory) as recorder, open_house(upstream, recorder.around(())) as house:
        client = house.connect()
        id = (await client.post(INITIALIZE))["mcp-session-id"] or ""
        await client.post(INITIALIZED, mcp_session_id=id)
        events = await client.stream(CALL, mcp_session_id=id)
        await events.message()
        await events.message()
        await house.connect().post(Exchange(message(id="q", result={"roots": []}), "legacy", None, POST), mcp_session_id=id)
        assert (await events.message() or {})["id"] == "c"
        await house.connect().ask("DELETE", mcp_session_id=id)
    assert essence(memory) == ESSENCE
    check_links(memory)


@pytest.mark.parametrize("behind", ["http", "stdio"])
async def test_the_same_conversation_over_stdio(autojump_clock: MockClock, behind: str) -> None:
    memory = Memory()
    async with upstreams(behind) as upstream, recording(memory) as recorder, open_pipe(upstream, recorder.around(())) as pipe:
        await pipe.say(INITIALIZE)
        await pipe.hear()
        await pipe.say(INITIALIZED, CALL)
        await pipe.hear()
        await pipe.hear()
        await pipe.say(message(id="q", result={"roots": []}))
        assert (await pipe.hear())["id"] == "c"
        pipe.end()
        await pipe.hear_all()
    assert essence(memory) == ESSENCE
    check_links(memory)


def check_links(memory: Memory) -> None:
    """The call's answer, its progress, the question and its answer refer to each other as they should, whatever ids were used on the far wire."""
    by_kind = {(frame.kind, frame.dir): frame for frame in memory.frames}
    call = next(frame for frame in memory.frames if frame.method == "tools/call")
    question, answer, progress = by_kind["request", "s2c"], by_kind["response", "c2s"], next(f for f in memory.frames if f.method == "notifications/progress")
    assert [frame.token and bytes(frame.token) for frame in (call, progress)] == [b'"t"', b'"t"']
    assert {progress.stream, question.stream} == {f"x{call.exchange}"}
    assert answer.re == question.n
    response = by_kind["response", "s2c"]
    assert (response.re, bytes(response.id or b"")) == (call.n, b'"c"')
    assert {frame.session for frame in memory.frames} == {"s1"}


async def test_a_message_that_no_server_hears_of_is_an_echo_of_none(autojump_clock: MockClock) -> None:
    async with recorded(echo) as (pipe, memory):
        await pipe.say(b"no json\n", b'{"jsonrpc":"2.0","id":null,"method":"x"}\n', modern("x"))
        for _ in range(3):
            await pipe.hear()
    assert memory.told == ["> request x #1 id=1", "< response #1 id=1 re=1"]
