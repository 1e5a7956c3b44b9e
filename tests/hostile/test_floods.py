"""Who sends faster than anybody takes: what piles up for him is bounded, and all of it is done once there is room."""
from __future__ import annotations

import json

import trio
import trio.testing
from dialogue import Json
from fakes import FakeUpstream
from hostile.make_child_lines import ask as server_asks
from hostile.make_child_lines import note
from memory_children import MemoryChild, spawning
from trio.testing import MockClock

from shadowproxy.admission import Admission
from shadowproxy.config import Config, Limits, Upstream
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.exchange import Exchange
from shadowproxy.gateway import Gateway
from shadowproxy.service import running
from shadowproxy.upstream import peer
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.wire.jsonrpc import Message

LIMITS = Limits(exchanges=10, queue=10)


async def test_notifications_of_a_client_whose_upstream_takes_none(autojump_clock: MockClock) -> None:
    """They go one after the other, so many wait for their turn, and the client is not read meanwhile; cancellations count as well."""
    go = trio.Event()

    async def slowly(exchange: Exchange) -> None:
        await go.wait()

    upstream = FakeUpstream()
    upstream.on_notify = slowly
    config = Config(upstream=Upstream(command=("none",)), stdio=True, limits=LIMITS)
    stdin, server_stdin = trio.testing.memory_stream_one_way_pair()
    server_stdout, _ = trio.testing.memory_stream_one_way_pair()
    lines = (note("y") + note("notifications/cancelled", '{"requestId":7}')) * 2500
    async with trio.open_nursery() as nursery:
        nursery.start_soon(StdioServer(config, Gateway(upstream, Admission(10, 10, 10)), server_stdin, server_stdout).run)
        await stdin.send_all(lines.encode())
        await trio.testing.wait_all_tasks_blocked()
        assert len(upstream.notes) == 1
        assert len(nursery.child_tasks) == 1
        await trio.sleep(LIMITS.exchanges)
        assert len(upstream.notes) == LIMITS.exchanges
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(upstream.notes) == 5000
        stdin.close()


async def test_requests_of_a_server_that_reads_no_answers(autojump_clock: MockClock) -> None:
    """A modern server may not ask; refusing it costs no more memory than it has taken answers."""
    silent = trio.Event()

    async def program(child: MemoryChild, message: Json) -> None:
        if message["method"] == "server/discover":
            await child.say({"id": message["id"], "result": {"supportedVersions": ["2026-07-28"]}})
        else:
            child.stdin.send_all_hook = silent.wait  # from now on it reads nothing
            await child.write(server_asks('"' + "x" * 900 + '"').encode() * 5000)
            await child.say({"id": message["id"], "result": {}})

    with spawning(program) as children:
        upstream = StdioUpstream(Config(upstream=Upstream(command=("server",)), limits=LIMITS))
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
        request = Message.decode(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"_meta": meta}}).encode())
        async with running(upstream.run):
            await trio.testing.wait_all_tasks_blocked()
            with Exchange(request, "modern") as exchange:
                reply = await upstream.call(exchange)
                assert isinstance(reply, Message)
            link = upstream._modern
            assert link is not None
            assert link.dropped > 4000
            assert link.outbox.size < 2 * peer.CHUNK
            assert len(children.living) == 2
