"""`shadowproxy verify` as a program: tapes of the demo server and of one that nobody here wrote, against those servers and against changed ones."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio
from person import SDK_WARNINGS, Person, stdio_front, text_of
from programs import PATIENCE, ROOT, SHADOWPROXY, Program, await_now, free_port, until
from real import node_packages
from tapes import happening, notification, request, response, write_tape

pytestmark = SDK_WARNINGS
DEMO = [sys.executable, "-m", "shadowproxy.cli.demo_server"]
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def verify(tape: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SHADOWPROXY, "verify", str(tape), *words], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def demo_tape(place: Path, text: str = "hello", **changed: Any) -> Path:
    """A conversation with the demo server; `changed` is what the tape says of its last answer."""
    legacy = {"session": "s1"}
    echoed = {"content": [{"type": "text", "text": text}], "isError": False, **changed}
    greeting = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "shadowproxy-demo", "version": "1.0.0"}}
    return write_tape(place / "demo.jsonl", [
        request(1, "initialize", HELLO, **legacy), response(2, re=1, result=greeting, **legacy), notification(3, "notifications/initialized", dir="c2s", **legacy),
        request(4, "tools/call", {"name": "count", "arguments": {"steps": 2}, "_meta": {"progressToken": 9}}, id=2, **legacy),
        notification(5, "notifications/progress", {"progressToken": 9, "progress": 1, "total": 2}, exchange=4, stream="x4", **legacy),
        notification(6, "notifications/progress", {"progressToken": 9, "progress": 2, "total": 2}, exchange=4, stream="x4", **legacy),
        response(7, re=4, id=2, result={"content": [{"type": "text", "text": "counted to 2"}], "isError": False}, stream="x4", **legacy),
        request(8, "tools/call", {"name": "echo", "arguments": {"text": "hello"}}, id=3, **legacy), response(9, re=8, id=3, result=echoed, **legacy),
        happening(10, "end", dir="c2s", **legacy)])  # fmt: skip


def test_a_server_that_has_not_changed(tmp_path: Path) -> None:
    done = verify(demo_tape(tmp_path), "--", *DEMO)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 MATCH, 2 messages of the server as recorded\n", "")


def test_a_server_that_has(tmp_path: Path) -> None:
    tape = demo_tape(tmp_path, "good day")
    junit, report = tmp_path / "j.xml", tmp_path / "r.json"
    done = verify(tape, "--junit", str(junit), "--json", str(report), "--", *DEMO)
    assert done.returncode == 4
    assert done.stdout.splitlines() == [
        "CHANGED             tools/call echo  (frame 8, exchange 8, session s1)", '    /result/content/0/text: "good day" -> "hello"',
        "2 MATCH, 1 CHANGED, 2 messages of the server as recorded"]  # fmt: skip
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "1"
    assert json.loads(report.read_text())["counts"]["CHANGED"] == 1
    assert verify(tape, "--fail-on", "missing,error-shape-changed", "--", *DEMO).returncode == 0
    assert verify(tape, "--ignore", "tools/call:/result/content/*/text", "--", *DEMO).returncode == 0
    shown = verify(tape, "--json", "-", "--", *DEMO)
    assert [finding["verdict"] for finding in json.loads(shown.stdout)["findings"]] == ["MATCH", "MATCH", "CHANGED"]


def test_a_server_that_cannot_be_started(tmp_path: Path) -> None:
    done = verify(demo_tape(tmp_path), "--patience", "0", "--", "/no/such/server")
    assert done.returncode == 4
    assert "MISSING             initialize" in done.stdout
    assert "upstream_unreachable" in done.stdout


# ---------------------------------------------------- a server from npm

@pytest.fixture(scope="module")
def everything() -> Sequence[str]:
    return node_packages.command("@modelcontextprotocol/server-everything")


async def record(place: Path, everything: Sequence[str]) -> Path:
    """What a person and the server say to each other, through the proxy."""
    tape, person = place / "everything.jsonl", Person()
    front = stdio_front([*SHADOWPROXY, "forward", "--record", str(tape), "--", *everything, "stdio"])
    with trio.fail_after(PATIENCE):
        async with person.client(front, "legacy") as client:
            await until(lambda: "roots" in person.asked)
            await client.list_tools()
            assert text_of(await client.call_tool("get-sum", {"a": 2, "b": 40})) == "The sum of 2 and 40 is 42."
            await client.call_tool("trigger-long-running-operation", {"duration": 0.2, "steps": 2}, progress_callback=person.hear)
            assert "said by Ada" in text_of(await client.call_tool("trigger-sampling-request", {"prompt": "who", "maxTokens": 10}))
            await client.call_tool("trigger-elicitation-request")
            assert (await client.call_tool("get-sum", {"a": "two"})).is_error
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.call_tool, "trigger-long-running-operation", {"duration": 60, "steps": 600}, progress_callback=person.hear))
                await until(lambda: len(person.progress) > 2)
                nursery.cancel_scope.cancel()
            await client.call_tool("echo", {"message": "still there"})
    return tape


async def test_a_real_server_over_stdio_and_over_http(tmp_path: Path, everything: Sequence[str]) -> None:
    tape = await record(tmp_path, everything)
    over_stdio = await trio.to_thread.run_sync(partial(verify, tape, "--", *everything, "stdio"))
    assert (over_stdio.returncode, over_stdio.stderr) == (0, ""), over_stdio.stdout
    port = free_port()
    with Program([*everything, "streamableHttp"], env={"PORT": str(port)}) as server:
        await trio.to_thread.run_sync(partial(await_now, lambda: "listening on port" in server.words))
        # What it tells right after the handshake is lost unless its GET stream is open by then; on stdio nothing is.
        over_http = await trio.to_thread.run_sync(partial(verify, tape, "--ignore", "notifications/tools/list_changed", f"http://127.0.0.1:{port}/mcp"))
    assert (over_http.returncode, over_http.stderr) == (0, ""), over_http.stdout
