"""The plugin as pytest runs it: fixtures under Trio, asyncio and without either; the modes; what is complained of."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from tapes import notification, request, response, write_tape

import shadowproxy
import shadowproxy.testing.guard
import shadowproxy.testing.plugin
import shadowproxy.testing.server  # before pytester: what it imports within a test it forgets afterwards

pytest_plugins = ["pytester"]
HELLO: Final = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
WELCOME: Final = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "taped", "version": "1"}}
LIVE: Final = [sys.executable, "-m", "shadowproxy.cli.demo_server"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CI unless the test says so; child processes find the shadowproxy that is tested."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(shadowproxy.__file__).parents[1]))


@pytest.fixture
def tape(pytester: pytest.Pytester) -> Path:
    """`tapes/echo.jsonl`: a greeting, a question of the server's within a call, and its result. The SDK's client asks what tools there are as well."""
    folder = pytester.mkdir("tapes")
    s1: dict[str, Any] = {"session": "s1"}
    frames = [
        request(1, "initialize", HELLO, id=0, **s1), response(2, 1, id=0, result=WELCOME, **s1),
        notification(3, "notifications/initialized", dir="c2s", **s1),
        request(4, "tools/call", {"name": "echo", "arguments": {"text": "hi"}}, id=1, t=1.0, **s1),
        request(5, "roots/list", id=7, dir="s2c", exchange=4, t=3.0, **s1),
        response(6, 5, id=7, dir="c2s", exchange=None, result={"roots": []}, t=3.5, **s1),
        response(7, 4, id=1, result={"content": [{"type": "text", "text": "hi"}]}, t=60.0, **s1),
    ]  # fmt: skip
    listed = [request(8, "tools/list", id=2, t=60.0, **s1), response(9, 8, id=2, result={"tools": []}, t=60.0, **s1)]
    write_tape(folder / "sdk.jsonl", [*frames, *listed])
    return write_tape(folder / "echo.jsonl", frames)


def run(pytester: pytest.Pytester, *words: str, passed: int = 0, failed: int = 0, errors: int = 0) -> Sequence[str]:
    """Run its tests, and see that as many went each way; what pytest said."""
    result = pytester.runpytest_inprocess("-p", "shadowproxy.testing.plugin", "-p", "no:cacheprovider", *words)
    result.assert_outcomes(passed=passed, failed=failed, errors=errors)
    return result.outlines


SDK = """
import pytest
from mcp import ClientSession
from mcp.types import ListRootsResult, TextContent

async def roots(context):
    return ListRootsResult(roots=[])

async def converse(server):
    async with server.transport() as (read, write), ClientSession(read, write, list_roots_callback=roots) as session:
        await session.initialize()
        (said,) = (await session.call_tool("echo", {"text": "hi"})).content
        assert isinstance(said, TextContent) and said.text == "hi"
"""


def test_a_client_of_the_sdk_under_trio_in_virtual_time(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile(SDK + """
import trio
@pytest.mark.trio
@pytest.mark.filterwarnings("ignore")
@pytest.mark.tape("sdk", timing="recorded")
async def test_it(replaying_server, autojump_clock):
    began = trio.current_time()
    await converse(replaying_server)
    assert 58 < trio.current_time() - began < 60
""")
    run(pytester, passed=1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_of_the_sdk_under_anyio(pytester: pytest.Pytester, tape: Path, backend: str) -> None:
    pytester.makepyfile(SDK + f"""
@pytest.fixture
def anyio_backend():
    return {backend!r}

@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore")
@pytest.mark.tape("sdk")
async def test_it(replaying_server):
    await converse(replaying_server)
""")
    run(pytester, passed=1)


STEPS = """
    reply = await replaying_server.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}})
    assert reply["result"]["serverInfo"]["name"] == "taped"
    await replaying_server.notify("notifications/initialized")
    reply = await replaying_server.request("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
    assert reply["result"] == {"content": [{"type": "text", "text": "hi"}]}
"""


@pytest.mark.parametrize(("mark", "fixture"), [("trio", ""), ("anyio", "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")])
def test_requests_without_a_client(pytester: pytest.Pytester, tape: Path, mark: str, fixture: str) -> None:
    """As an exported test has them."""
    pytester.makepyfile(f"import pytest\n{fixture}\n@pytest.mark.{mark}\n@pytest.mark.tape('echo')\nasync def test_it(replaying_server):{STEPS}")
    run(pytester, passed=1)


def test_a_child_process(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile(CHILD)
    run(pytester, passed=1)


CHILD = """
import json, subprocess
import pytest

@pytest.mark.tape("echo")
def test_it(replaying_server):
    lines = [
        {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi"}}},
        {"id": 7, "result": {"roots": []}},
    ]
    said = "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\\n" for line in lines)
    done = subprocess.run(replaying_server.command, input=said, capture_output=True, text=True, timeout=60)
    answers = {answer.get("id"): answer for answer in map(json.loads, done.stdout.splitlines())}
    assert answers[1]["result"]["content"][0]["text"] == "hi", done.stderr
"""


def test_what_was_not_asked_is_told_and_may_be_allowed(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile("""
import pytest
@pytest.mark.tape("echo")
def test_nothing(replaying_server):
    pass

@pytest.mark.trio
@pytest.mark.tape("echo")
async def test_little(replaying_server):
    await replaying_server.request("initialize", {})

@pytest.mark.trio
@pytest.mark.tape("echo", allow_unused=True)
async def test_allowed(replaying_server):
    await replaying_server.request("initialize", {})

@pytest.mark.tape("echo")
def test_that_fails_anyway(replaying_server):
    assert False
""")
    said = run(pytester, passed=3, failed=1, errors=2)
    assert "2 recorded requests of echo.jsonl were not asked:" in said
    assert "    frame 4: tools/call" in said


def test_a_child_that_asks_less_is_seen(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile(CHILD.replace('        {"id": 1, "method": "tools/call"', '        {"id": 1, "method": "ping"} if True else {"id": 1, "method": "tools/call"')
                        .replace("assert answers[1]", "assert True or answers[1]"))  # fmt: skip
    said = run(pytester, passed=1, errors=1)
    assert "    frame 4: tools/call" in said
    assert any("ping was never asked on this tape" in line for line in said)


def test_what_is_not_on_the_tape_is_told_and_may_be_allowed(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile("""
import pytest
@pytest.mark.trio
@pytest.mark.tape("echo", allow_unused=True)
async def test_other(replaying_server):
    await replaying_server.request("initialize", {})
    reply = await replaying_server.request("tools/call", {"name": "echo", "arguments": {"text": "ho"}})
    assert reply["error"]["data"]["name"] == "tape_miss"

@pytest.mark.trio
@pytest.mark.tape("echo", allow_unused=True, allow_misses=True)
async def test_allowed(replaying_server):
    await replaying_server.request("initialize", {})
    assert "error" in await replaying_server.request("tools/call", {"name": "echo", "arguments": {"text": "ho"}})
""")
    said = run(pytester, passed=2, errors=1)
    assert "1 request is not on echo.jsonl:" in said
    assert any('"hi" -> "ho"' in line for line in said)


def test_one_that_fails_is_shown_with_what_was_not_on_its_tape(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile("""
import pytest
@pytest.mark.trio
@pytest.mark.tape("echo")
async def test_other(recording_server):
    await recording_server.request("initialize", {})
    reply = await recording_server.request("tools/call", {"name": "echo", "arguments": {"text": "ho"}})
    assert "result" in reply

@pytest.mark.tape("echo")
def test_with_a_fault_of_its_own(recording_server):
    assert False
""")
    said = run(pytester, failed=2)
    assert sum("- Tape -" in line for line in said) == 1
    assert "1 request is not on echo.jsonl:" in said
    assert any("if it should: pytest " in line and "::test_other --tape-mode=new_episodes" in line for line in said)


@pytest.mark.parametrize(("live", "body", "why"), [
    (["no-such-server"], "await recording_server.request('tools/list')", "the live server has not answered anything"),
    (LIVE, "pass", "the test asked nothing of its server"),
])  # fmt: skip
def test_what_is_no_recording_does_not_become_a_tape(pytester: pytest.Pytester, live: list[str], body: str, why: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.trio\n@pytest.mark.tape('new', live={live!r})\nasync def test_it(recording_server):\n    {body}")
    said = run(pytester, "--tape-mode=once", passed=1, errors=1)
    assert any(why in line and "nothing was recorded" in line for line in said)
    assert not list(pytester.path.glob("tapes/*"))


def test_no_tape_and_no_mark(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile("""
import pytest
def test_without_a_mark(replaying_server):
    pass

@pytest.mark.tape
def test_named_like_its_tape(recording_server):
    pass

@pytest.mark.tape("echo", speed=3)
def test_misspelled(replaying_server):
    pass
""")
    said = "\n".join(run(pytester, errors=3))
    assert "replaying_server needs a tape: mark the test with @pytest.mark.tape('name')" in said
    assert "tapes/test_named_like_its_tape.jsonl; record it and commit it: pytest test_no_tape_and_no_mark.py::test_named_like_its_tape --tape-mode=once" in said
    assert "During handling" not in said
    assert "speed" in said


def test_another_directory(pytester: pytest.Pytester, tape: Path) -> None:
    tape.parent.rename(pytester.path / "recordings")
    pytester.makeini("[pytest]\ntape_directory = recordings")
    pytester.makepyfile("import pytest\n@pytest.mark.tape('echo', allow_unused=True)\ndef test_it(replaying_server):\n    assert replaying_server.path.exists()")
    run(pytester, passed=1)


# ---------------------------------------------------- blocked

def test_nothing_live_in_mode_none(pytester: pytest.Pytester, tape: Path) -> None:
    pytester.makepyfile("""
import asyncio, socket, subprocess, sys
import pytest, trio
from shadowproxy.testing.guard import LiveAccess

ELSEWHERE = ("192.0.2.1", 80)

@pytest.mark.tape("echo", allow_unused=True)
def test_blocked(replaying_server):
    with socket.socket() as sock:
        with pytest.raises(LiveAccess, match=r"192.0.2.1:80 was tried; test_blocked has @pytest.mark.tape.*block=False"):
            sock.connect(ELSEWHERE)
    with pytest.raises(LiveAccess, match="the address of example.org was looked up"):
        socket.create_connection(("example.org", 80))
    with pytest.raises(LiveAccess, match="a program was started: .*true"):
        subprocess.run(["true"])

@pytest.mark.trio
@pytest.mark.tape("echo", allow_unused=True)
async def test_blocked_in_trio(replaying_server):
    with pytest.raises(LiveAccess):
        await trio.lowlevel.open_process(["true"])
    with pytest.raises(LiveAccess):
        await trio.open_tcp_stream("example.org", 80)

@pytest.mark.tape("echo", allow_unused=True)
def test_blocked_in_asyncio(replaying_server):
    async def try_all():
        with pytest.raises(LiveAccess):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(LiveAccess):
            await asyncio.open_connection(*ELSEWHERE)
    asyncio.run(try_all())

@pytest.mark.tape("echo", allow_unused=True, block=False)
def test_allowed(replaying_server):
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_without_a_tape():
    subprocess.run([sys.executable, "-c", ""], check=True)
""")
    run(pytester, passed=5)
    run(pytester, "-k", "test_allowed or test_without", "--tape-mode=once", passed=2)


# ---------------------------------------------------- recorded

RECORDED = f"""
import pytest
@pytest.mark.trio
@pytest.mark.tape("new", live={LIVE!r})
async def test_it(recording_server):
    reply = await recording_server.request("initialize", {HELLO!r})
    await recording_server.notify("notifications/initialized")
    for word in WORDS:
        reply = await recording_server.request("tools/call", {{"name": "echo", "arguments": {{"text": word}}}})
        assert reply["result"]["content"][0]["text"] == word
    assert FINE
"""


def recorded(words: Sequence[str], fine: bool = True) -> str:
    return RECORDED.replace("WORDS", repr(list(words))).replace("FINE", repr(fine))


def asked_on(path: Path) -> list[str]:
    """The words of the calls on a tape."""
    from shadowproxy.tape.reader import Reading

    with Reading(path) as reading:
        frames = list(reading)
    assert [frame.n for frame in frames] == list(range(1, len(frames) + 1))
    return [frame.value()["params"]["arguments"]["text"] for frame in frames if frame.method == "tools/call"]


def test_the_modes(pytester: pytest.Pytester) -> None:
    tape = pytester.path / "tapes" / "new.jsonl"
    pytester.makepyfile(recorded("a"))
    run(pytester, errors=1)
    run(pytester, "--tape-mode=once", passed=1)
    assert asked_on(tape) == ["a"]
    run(pytester, passed=1)
    pytester.makepyfile(recorded("ab"))
    run(pytester, "--tape-mode=once", failed=1)
    run(pytester, "--tape-mode=new_episodes", passed=1)
    assert asked_on(tape) == ["a", "b"]
    run(pytester, passed=1)
    pytester.makepyfile(recorded("ac"))
    run(pytester, "--tape-mode=all", passed=1)
    assert asked_on(tape) == ["a", "b", "a", "c"]
    run(pytester, "--tape-mode=rewrite", passed=1)
    assert asked_on(tape) == ["a", "c"]
    assert [path.name for path in tape.parent.iterdir()] == ["new.jsonl"]


def test_a_test_that_fails_leaves_the_tape_as_it_was(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(recorded("a", fine=False))
    run(pytester, "--tape-mode=once", failed=1)
    assert list((pytester.path / "tapes").iterdir()) == []


def test_who_decides_the_mode(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\ntape_mode = rewrite")
    pytester.makepyfile(recorded("a"))
    run(pytester, passed=1)
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(recorded("b"))
    run(pytester, failed=1)
    monkeypatch.setenv("SHADOWPROXY_TAPE_MODE", "rewrite")
    run(pytester, passed=1)
    pytester.makepyfile(recorded("c"))
    run(pytester, "--tape-mode=none", failed=1)
    monkeypatch.setenv("SHADOWPROXY_TAPE_MODE", "sometimes")
    result = pytester.runpytest_inprocess("-p", "shadowproxy.testing.plugin")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
