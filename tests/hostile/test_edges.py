"""Nesting as deep as the decoder just bears: it depends on how deep the interpreter is already, so each look into a message may be the one that fails."""
from __future__ import annotations

import bisect
import json

import msgspec
import pytest
from dialogue import Json, modern
from hostile import test_child_lines, test_messages
from hostile.make_child_lines import row as child_row
from hostile.make_messages import META, legacy_fields, modern_fields
from hostile.memory_client import spelled
from memory_children import MemoryChild, spawning
from trio.testing import MockClock, wait_all_tasks_blocked

from shadowproxy.config import Config, Timeouts, Upstream
from shadowproxy.errors import ProxyError
from shadowproxy.service import running
from shadowproxy.upstream.stdio import StdioUpstream
from shadowproxy.wire.jsonrpc import Message


def bearable() -> int:
    """How deep the decoder goes from here; what is around it, in Pythons that count that as well, makes some difference."""

    def bears(depth: int) -> bool:
        try:
            msgspec.json.decode(b"[" * depth + b"0" + b"]" * depth, type=msgspec.Raw)
        except RecursionError:
            return False
        return True

    return bisect.bisect_left(range(1_000_000), True, key=lambda depth: not bears(depth))


DEPTHS = range(bearable() - 150, bearable() + 100)
BOMBS = {"[": "]", '{"a":': "}"}
PLACES = {
    "params": ('{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"a":$}}', legacy_fields()),
    "_meta, legacy": ('{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"_meta":{"progressToken":1,"a":$}}}', legacy_fields()),
    "_meta": ('{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{' + META[:-1] + ',"a":$}}}', modern_fields("prompts/list")),
    "capabilities": ('{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{' + META[:-2] + '"a":$}}}}', modern_fields("prompts/list")),
    "arguments": ('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"where","arguments":{"region":"x","where":{"a":$}},' + META + "}}",
                  (*modern_fields("tools/call", "where"), ("mcp-param-region", "x"))),
    "id": ('{"jsonrpc":"2.0","id":$,"method":"prompts/list"}', legacy_fields()),
    "batch": ('[{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"_meta":{"a":$}}}]', legacy_fields("2025-03-26")),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_requests(autojump_clock: MockClock, place: str) -> None:
    """Served or refused, at every depth; and nothing in between."""
    body, fields = PLACES[place]
    found = set()
    async with test_messages.open_front() as proxy:
        for opening, closing in BOMBS.items():
            for depth in DEPTHS:
                answer = await proxy.post(body.replace("$", opening * depth + "0" + closing * depth).encode(), list(fields))
                found.add((answer.status, spelled(answer)[0][1]))
    assert found <= {(200, "result"), (400, -32700), (400, -32602), (400, -32600)}
    assert (400, -32700) in found
    assert ((200, "result") in found) == (place != "id")


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("line", [
    '{"jsonrpc":"2.0","id":$ID,"result":{"a":$}}',
    '{"jsonrpc":"2.0","id":$ID,"error":{"code":1,"message":"","data":$}}',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$ID,"a":$}}',
    '{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":$ID,"a":$}}}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":$}}',
    '{"jsonrpc":"2.0","id":$,"method":"ping"}',
])  # fmt: skip
async def test_lines_of_a_server(autojump_clock: MockClock, era: str, line: str) -> None:
    """Delivered or dropped, at every depth; the server's other lines are read as before."""
    async with test_child_lines.open_pipes(era) as pipes:
        for opening, closing in BOMBS.items():
            for depth in DEPTHS[::4]:
                lines = line.replace("$ID", "§").replace("$", opening * depth + "0" + closing * depth).replace("§", "$ID") + "\n"
                answer = '{"jsonrpc":"2.0","id":$ID,"result":{}}\n'
                got, _ = await test_child_lines.outcome(pipes, child_row("edge", json.dumps(depth), era, lines + answer), None)
                assert got["status"] == 200
                assert got["messages"][-1] in (['"a"', "result"], ['"a"', 1])
                assert got["other"] == "result"


@pytest.mark.parametrize("answer", [
    '"result":{"supportedVersions":["2026-07-28"],"a":$}',
    '"result":{"supportedVersions":$}',
    '"error":{"code":-32022,"message":"","data":{"supported":["2026-07-28"],"a":$}}',
    '"error":{"code":-32022,"message":"","data":$}',
])  # fmt: skip
async def test_what_a_server_says_of_its_era(autojump_clock: MockClock, answer: str) -> None:
    """It is of one era or of the other, or is not heard at all."""

    async def program(child: MemoryChild, message: Json) -> None:
        if message["method"] == "server/discover":
            await child.write(f'{{"jsonrpc":"2.0","id":{message["id"]},{said}}}\n'.encode())
        else:
            await child.say({"id": message["id"], "result": {}})

    outcomes = set()
    for opening, closing in BOMBS.items():
        for depth in DEPTHS[::2]:
            said = answer.replace("$", opening * depth + "0" + closing * depth)
            with spawning(program):
                upstream = StdioUpstream(Config(upstream=Upstream(command=("server",)), timeouts=Timeouts(connect=1)))
                async with running(upstream.run):
                    await wait_all_tasks_blocked()
                    try:
                        with modern("x", http=False) as exchange:
                            reply = await upstream.call(exchange)
                        outcomes.add("modern" if isinstance(reply, Message) else "stream")
                    except ProxyError as error:
                        outcomes.add(error.name)
    assert outcomes <= {"modern", "proxy_error", "upstream_broken"}
    assert "upstream_broken" in outcomes, "the deepest are dropped, and so not answered in time"
