"""The SDK's client records a conversation with a real server through the command line, and has it again from the tape: over stdio and HTTP, in both eras."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import trio
from mcp import MCPError
from person import MODERN, SDK_WARNINGS, Person, stdio_front, text_of
from programs import FIXTURE, PATIENCE, SHADOWPROXY, Program
from replays import asked, handshake, tool
from tapes import write_tape

from shadowproxy import Config, Upstream, open_proxy
from shadowproxy.errors import ConfigError

pytestmark = SDK_WARNINGS

ERAS = {"legacy": "legacy", "modern": MODERN}


async def converse(person: Person, front: str | Sequence[str], era: str) -> list[str]:
    """Lists, progress, questions, an error: what the client saw, in words."""
    seen = []
    async with person.client(front if isinstance(front, str) else stdio_front(front), ERAS[era]) as client:
        seen.append(str(sorted(tool.name for tool in (await client.list_tools()).tools)))
        seen.append(text_of(await client.call_tool("test_tool_with_progress", progress_callback=person.hear)))
        if era == "legacy":
            seen.append(text_of(await client.call_tool("test_elicitation", {"message": "who?"})))
            seen.append(text_of(await client.call_tool("test_sampling", {"prompt": "who?"})))
        else:
            seen.append(text_of(await client.call_tool("test_input_required_result_elicitation")))
        seen.append(text_of(await client.call_tool("test_error_handling")))
        with pytest.raises(MCPError) as caught:
            await client.call_tool("no-such-tool")
        seen.append(str(caught.value))
    return [*seen, *person.asked, *person.logs, *map(str, person.progress)]


@pytest.mark.parametrize("era", ERAS)
async def test_a_conversation_from_the_tape_is_the_one_that_was_recorded(tmp_path: Path, era: str) -> None:
    tape = str(tmp_path / "tape.jsonl")
    with trio.fail_after(PATIENCE * 3):
        recorded = await converse(Person("Emmy"), [*SHADOWPROXY, "forward", "--record", tape, "--", *FIXTURE, "--stdio"], era)
        assert "100.0" in recorded, "its progress was heard"
        assert await converse(Person("Emmy"), [*SHADOWPROXY, "replay", tape], era) == recorded
        with Program([*SHADOWPROXY, "replay", tape, "--listen", "127.0.0.1:0"]) as replay:
            assert await converse(Person("Emmy"), replay.url, era) == recorded


async def test_what_is_not_on_the_tape_is_an_error_or_is_asked_of_the_real_server_and_recorded(tmp_path: Path) -> None:
    tape = str(tmp_path / "tape.jsonl")
    with trio.fail_after(PATIENCE * 3):
        async with Person().client(stdio_front([*SHADOWPROXY, "forward", "--record", tape, "--", *FIXTURE, "--stdio"]), "legacy") as client:
            await client.list_tools()
        async with Person().client(stdio_front([*SHADOWPROXY, "replay", tape]), "legacy") as client:
            with pytest.raises(MCPError, match="tools/call was never asked on this tape") as caught:
                await client.call_tool("test_simple_text")
            assert caught.value.code == 1301
        async with Person().client(stdio_front([*SHADOWPROXY, "replay", tape, "--on-miss", "record", "--", *FIXTURE, "--stdio"]), "legacy") as client:
            assert "simple text" in text_of(await client.call_tool("test_simple_text"))
        async with Person().client(stdio_front([*SHADOWPROXY, "replay", tape]), "legacy") as client:
            assert "simple text" in text_of(await client.call_tool("test_simple_text"))


async def test_within_a_program(tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "tape.jsonl", [*handshake(), *tool(4, {"name": "a"}, {"content": []}), *asked(6, "tools/list", {}, {"tools": []})])
    with trio.fail_after(PATIENCE):
        async with open_proxy(Config(upstream=Upstream(tape=str(tape)), listen=("127.0.0.1:0",))) as proxy:
            async with Person().client(proxy.addresses[0], "legacy") as client:
                await client.call_tool("a")
            counts = proxy.statistics()
            assert (counts["tape_requests"], counts["tape_unused"], counts["tape_misses"]) == (3, 0, 0)
        tape.write_text("no tape any more")
        with pytest.raises(ConfigError, match="not a tape"):  # itself, in no group
            async with open_proxy(Config(upstream=Upstream(tape=str(tape)))):
                pass


def test_a_child_is_not_started_before_it_is_needed(tmp_path: Path) -> None:
    """The tape has all that is asked for; the command behind it would fail."""
    tape = tmp_path / "tape.jsonl"
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}
    lines = [
        {"tape": 1, "tool": "hand", "origin": 0.0}, {"n": 1, "t": 0.0, "dir": "c2s", "kind": "request", "session": "s1", "exchange": 1, "method": "initialize", "id": 0, "message": hello},
        {"n": 2, "t": 0.1, "dir": "s2c", "kind": "response", "session": "s1", "exchange": 1, "id": 0, "re": 1, "message": {"jsonrpc": "2.0", "id": 0, "result": {}}},
    ]  # fmt: skip
    tape.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Program([*SHADOWPROXY, "replay", str(tape), "--listen", "127.0.0.1:0", "--on-miss", "forward", "--", "/no/such/program"]) as replay:
        headers = {"accept": "application/json, text/event-stream"}
        answer = httpx.post(replay.url, json=hello, headers=headers)
        assert answer.json() == {"jsonrpc": "2.0", "id": 0, "result": {}}
        headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        missed = httpx.post(replay.url, json={**hello, "method": "tools/list"}, headers=headers)
        assert missed.json()["error"]["data"]["name"] == "upstream_unreachable"
