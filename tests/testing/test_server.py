"""The server of a test: which way it goes, what it keeps, what it complains of. The plugin's own test shows it within pytest."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio
import trio.testing
from dialogue import META
from replays import HELLO, handshake, tool
from tapes import write_tape

from shadowproxy.config import Replay
from shadowproxy.tape.reader import Reading
from shadowproxy.testing.marks import Mark
from shadowproxy.testing.modes import Mode
from shadowproxy.testing.server import NoTape, TapedServer

DEMO = (sys.executable, "-m", "shadowproxy.cli.demo_server")


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "tape.jsonl", [*handshake(), *tool(4, {"name": "add"}, {"sum": 3})])


def server(path: Path, mode: Mode = "none", **options: Any) -> TapedServer:
    return TapedServer(Mark(path=path, **options), mode)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_in_a_trio_test_its_clock_holds_and_there_is_no_thread(tape: Path, autojump_clock: trio.testing.MockClock) -> None:
    replaying = server(tape, replay=Replay(timing="scale:1000"))
    began = trio.current_time()
    try:
        async with replaying.stream() as stream:
            await stream.send(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n')
            assert b"taped" in await stream.receive()
    finally:
        replaying.close()
    assert trio.current_time() - began == pytest.approx(100)
    assert "frame 4: tools/call" in replaying.complaint()


def test_under_asyncio_and_by_http_it_is_the_same(tape: Path) -> None:
    """Two ways, one tape: what each has used is not unused."""
    replaying = server(tape)

    async def ask() -> None:
        await replaying.request("initialize", HELLO)
        assert (await replaying.request("tools/call", {"name": "add"}))["result"] == {"sum": 3}

    try:
        anyio.run(ask)
        answer = httpx.post(replaying.url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO})
        assert answer.status_code == 200
    finally:
        replaying.close()
    assert replaying.complaint() == ""
    replaying.clear()
    assert left(tape.parent) == ["tape.jsonl"]


def test_its_command_answers_from_the_tape_by_the_marks_rules(tape: Path) -> None:
    replaying = server(tape, replay=Replay(order="strict", ignore=("/params/now",)))
    words = replaying.command
    assert words[:5] == [sys.executable, "-m", "shadowproxy", "replay", str(tape)]
    assert words[5:-2] == ["--order", "strict", "--repeats", "safe", "--timing", "none", "--ignore", "/params/now"]
    replaying.close()
    assert "frame 1: initialize" in replaying.complaint()
    replaying.clear()
    assert left(tape.parent) == ["tape.jsonl"]


@pytest.mark.parametrize(("mode", "verb"), [("once", "replay"), ("new_episodes", "replay"), ("all", "forward"), ("rewrite", "forward")])
def test_its_command_when_it_records(tape: Path, mode: Mode, verb: str) -> None:
    recording = server(tape, mode, live=DEMO)
    assert recording.command[3] == verb
    assert recording.is_live == (mode != "once")
    recording.close()
    recording.clear()


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    """As in two processes of pytest-xdist: each writes beside the tape, and whoever is kept last has it, whole."""
    path = tmp_path / "new.jsonl"
    both = [server(path, "once", live=DEMO) for _ in range(2)]
    for number, one in enumerate(both):
        for _ in range(number + 1):
            anyio.run(one.request, "server/discover", {"_meta": META})
    for one in both:
        one.close()
        one.keep()
        one.clear()
    assert left(tmp_path) == ["new.jsonl"]
    with Reading(path) as reading:
        assert [frame.method for frame in reading if frame.kind == "request"] == ["server/discover"] * 2


def test_without_a_tape_there_is_nothing_to_answer_from(tmp_path: Path) -> None:
    with pytest.raises(NoTape, match=r"there is no tape .*none\.jsonl; record it and commit it: --tape-mode=once, in a test"):
        server(tmp_path / "none.jsonl")


def test_what_was_recorded_is_the_tape_when_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "new.jsonl"
    for keep in (False, True):
        recording = server(path, "once", live=DEMO)
        anyio.run(recording.request, "initialize", HELLO)
        recording.close()
        if keep:
            recording.keep()
        recording.clear()
        assert path.exists() == keep
    assert left(path.parent) == ["new.jsonl"]
    assert server(path).is_live is False
