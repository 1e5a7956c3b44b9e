"""Which era is a server of? A table of answers to `server/discover`."""
from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from dialogue import Json
from peer_calls import calls

from shadowproxy.upstream.era_probe import is_modern


async def judged(answer: bytes, levels: int = 0) -> tuple[bool | None, Json]:
    """The verdict, by a judge who stands so many calls deep, and what was asked. None if the answer cannot even be read."""
    async with calls("modern") as pipe:
        verdicts: list[bool | None] = []

        async def probe(levels: int) -> None:
            if levels:
                return await probe(levels - 1)
            verdicts.append(await is_modern(pipe.peer))

        async def deliver(line: bytes) -> None:
            pipe.peer.deliver(line)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe, levels)
            await trio.testing.wait_all_tasks_blocked()
            asked = (await pipe.sent())[0]
            nursery.start_soon(deliver, answer.replace(b"ID", b"%d" % asked["id"]))
            await trio.testing.wait_all_tasks_blocked()
            if pipe.peer.dropped:
                verdicts.append(None)
                nursery.cancel_scope.cancel()
        return verdicts[0], asked


def result(body: object) -> bytes:
    return b'{"jsonrpc":"2.0","id":ID,"result":%b}' % json.dumps(body).encode()


def error(body: object) -> bytes:
    return b'{"jsonrpc":"2.0","id":ID,"error":%b}' % json.dumps(body).encode()


@pytest.mark.parametrize("answer", [
    result({"supportedVersions": ["2026-07-28"]}),
    result({"supportedVersions": ["2025-11-25", "2026-07-28", "2031-01-01"], "x": 1}),
    error({"code": -32020, "message": "header"}),
    error({"code": -32021, "message": "capability", "data": {"requiredCapabilities": {}}}),
    error({"code": -32022, "message": "version", "data": {"supported": ["2031-01-01"], "requested": "2026-07-28"}}),
])
async def test_modern(answer: bytes) -> None:
    assert (await judged(answer))[0]


@pytest.mark.parametrize("answer", [
    error({"code": -32601, "message": "Method not found"}),
    error({"code": -32600, "message": "not initialized"}),
    error({"code": -32602, "message": "Invalid request parameters", "data": ""}),
    error({"code": -32022, "message": "version", "data": {"supported": ["2025-11-25"]}}),
    error({"code": -32022, "message": "version"}),
    error({"code": -32022, "message": "version", "data": "what?"}),
    error({"code": "x"}), error(5), error([]), error({}),
    result({"supportedVersions": ["2025-11-25"]}), result({"supportedVersions": []}), result({}), result({"supportedVersions": "2026-07-28"}),
    result({"supportedVersions": [5]}), result({"supportedVersions": None}), result(5), result([]), result(None), result({"protocolVersion": "2025-11-25"}),
])
async def test_legacy(answer: bytes) -> None:
    assert not (await judged(answer))[0]


@pytest.mark.parametrize("answer", [b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"data":%b}}', b'{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":%b}}',
                                    b'{"jsonrpc":"2.0","id":ID,"error":{"x":%b}}'])  # fmt: skip
async def test_an_answer_nested_to_the_brink_is_legacy_too_and_no_crash(answer: bytes) -> None:
    """How much nesting a decoder stands depends on how deep it is called; the reader of the pipe stands higher than the judge."""
    verdicts = [(await judged(answer % (b"[" * depth + b"]" * depth), levels=60))[0] for depth in range(700, 1100, 10)]
    assert set(verdicts) == {False, None}


async def test_it_asks_as_the_specification_says() -> None:
    _, asked = await judged(result({}))
    assert asked["method"] == "server/discover"
    assert asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert asked["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
