"""on_miss "record": what the live server answered stands on the tape, in the right session, and is found the next time."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from dialogue import META
from fakes import FakeUpstream, Feed, answer_to, feeding, note
from replays import Caller, asked, call_modern, handshake, opened, replaying, tool
from tapes import HEADER, write_tape

from shadowproxy.config import Replay
from shadowproxy.errors import ConfigError
from shadowproxy.exchange import Exchange, Reply
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.replay_opening import open_replay

A, NEW = {"name": "a"}, {"name": "new"}
TAPE = [*handshake(1, "s1"), *tool(4, A, {}, "s1"), *handshake(6, "s2", protocolVersion="2025-03-26"), opened(9, "s2")]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "0123456789abcdef")


async def test_what_was_missing_is_on_the_tape_the_next_time(tmp_path: Path) -> None:
    """Called by a client of the second session: there it belongs."""
    async def stream(exchange: Exchange) -> Reply:
        if exchange.request.method == "initialize":
            return answer_to(exchange)
        return await feeding(Feed(note(), answer_to(exchange), ended=True))(exchange)

    async with replaying(tmp_path, TAPE, live=FakeUpstream(stream), on_miss="record") as tape:
        client = Caller(tape)
        await client.greet(protocolVersion="2025-03-26")
        assert len(await client.call("tools/call", NEW)) == 2
    path = tmp_path / "tape.jsonl"
    with Reading(path) as reading:
        frames = list(reading)
    fresh = frames[len(TAPE) :]
    assert [(one.n, one.kind, one.session, one.exchange, one.stream) for one in fresh] == [
        (10, "request", "s2", 10, None), (11, "notification", "s2", 10, "x10"), (12, "response", "s2", 10, "x10")]  # fmt: skip
    assert fresh[2].re == 10
    assert not reading.torn
    async with open_replay(path, Replay()) as tape:
        client = Caller(tape)
        await client.greet(protocolVersion="2025-03-26")
        assert len(await client.call("tools/call", NEW)) == 2


async def test_half_a_line_at_the_end_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "tape.jsonl", asked(1, "tools/call", {**A, "_meta": META}, {}, None))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n":3,"t":')
    async with open_replay(path, Replay(on_miss="record"), FakeUpstream()) as tape:
        await call_modern(tape, "tools/call", A)
        assert path.read_bytes() == whole + b'{"n":3,"t":', "untouched while there is nothing to write"
        await call_modern(tape, "tools/call", NEW)
    with Reading(path) as reading:
        assert [one.n for one in reading] == [1, 2, 3, 4]


async def test_times_go_on_from_the_tape_s_origin(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    async with replaying(tmp_path, asked(1, "a", {"_meta": META}, {}, None), live=FakeUpstream(), on_miss="record", header=HEADER) as tape:
        await trio.sleep(50)
        await call_modern(tape, "tools/call", NEW)
    with Reading(tmp_path / "tape.jsonl") as reading:
        *_, last = reading
    assert last.wall == pytest.approx(HEADER.origin + last.t, abs=1e-3)


async def test_it_is_redacted_as_the_rest_of_the_tape(tmp_path: Path) -> None:
    frames = asked(1, "a", {"_meta": META}, {}, None)
    secret = {"name": "new", "arguments": {"password": "hunter2-hunter2"}}
    for redaction, there in (("default", False), ("none", True)):
        async with replaying(tmp_path, frames, live=FakeUpstream(), on_miss="record", header=msgspec.structs.replace(HEADER, redaction=redaction)) as tape:
            await call_modern(tape, "tools/call", secret)
        assert (b"hunter2" in (tmp_path / "tape.jsonl").read_bytes()) is there


async def test_where_nothing_can_be_appended_nothing_starts(tmp_path: Path) -> None:
    path = tmp_path / "tape.jsonl.zst"
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="nothing can be appended to a compressed tape"):
        async with open_replay(path, Replay(on_miss="record"), FakeUpstream()):
            pass
