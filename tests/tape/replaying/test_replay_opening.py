"""Opening a tape for replay: what is none, compressed ones, large ones, and ones that were redacted with a key that is known here, or is not."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
import zstandard
from dialogue import META
from replays import asked, call_modern, handshake, tool
from tapes import HEADER, tape_bytes, write_tape

from shadowproxy.config import Replay
from shadowproxy.errors import ConfigError, TapeMiss
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.redaction.redact import DEFAULT, Redactor
from shadowproxy.tape.replaying.replay_opening import SMALL, check, open_replay

FRAMES = [*handshake(), *tool(4, {"name": "a"}, {"of": 1})]
KEY = "0123456789abcdef"


def modern_frames() -> Sequence[Frame]:
    secrets = ({"password": "correct-horse-battery"}, {"password": "hunter2-hunter2"})
    return [one for n, secret in enumerate(secrets) for one in asked(2 * n + 1, "tools/call", {"name": "a", "arguments": secret, "_meta": META}, {"n": n}, None)]


@pytest.mark.parametrize(("data", "said"), [(b"", "nothing in it"), (b"hello\n", "not a tape"), (b'{"tape":99}\n', "newer"), (None, "No such file")])
async def test_what_is_no_tape(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "tape.jsonl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        check(path)
    with pytest.raises(ConfigError, match=said):
        async with open_replay(path, Replay()):
            pass


async def test_a_compressed_tape(tmp_path: Path) -> None:
    path = tmp_path / "tape.jsonl.zst"
    path.write_bytes(zstandard.compress(tape_bytes(modern_frames())))
    async with open_replay(path, Replay()) as tape:
        for n, password in ((1, "hunter2-hunter2"), (0, "correct-horse-battery")):
            [answer] = await call_modern(tape, "tools/call", {"name": "a", "arguments": {"password": password}})
            assert answer["result"] == {"n": n}


async def test_a_large_tape_is_read_in_a_thread(tmp_path: Path) -> None:
    frames = asked(1, "tools/call", {"name": "a", "_meta": META}, {"text": "x" * SMALL}, None)
    async with open_replay(write_tape(tmp_path / "tape.jsonl", frames), Replay()) as tape:
        [answer] = await call_modern(tape, "tools/call", {"name": "a"})
        assert len(answer["result"]["text"]) == SMALL
        await trio.lowlevel.checkpoint()


async def redacted(folder: Path, key: str) -> Path:
    redactor = Redactor(DEFAULT, key.encode())
    frames = [redactor.frame(frame) for frame in modern_frames()]
    assert b"hunter2" not in tape_bytes(frames)
    return write_tape(folder / "tape.jsonl", frames, redactor.header(HEADER))


async def test_with_the_tape_s_key_a_secret_finds_its_own_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", KEY)
    async with open_replay(await redacted(tmp_path, KEY), Replay()) as tape:
        for n, password in ((1, "hunter2-hunter2"), (0, "correct-horse-battery")):
            [answer] = await call_modern(tape, "tools/call", {"name": "a", "arguments": {"password": password}})
            assert answer["result"] == {"n": n}
        with pytest.raises(TapeMiss):
            await call_modern(tape, "tools/call", {"name": "a", "arguments": {"password": "another one"}})


async def test_what_was_redacted_by_rules_of_one_s_own_is_found_with_the_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", KEY)
    redactor = Redactor(DEFAULT, KEY.encode())
    params = {"name": "a", "arguments": {"colour": "[REDACTED:mine:" + redactor._token("mine", "green").rpartition(":")[2], "_": 1}, "_meta": META}
    path = write_tape(tmp_path / "tape.jsonl", asked(1, "tools/call", params, {}, None), redactor.header(HEADER))
    async with open_replay(path, Replay()) as tape:
        with pytest.raises(TapeMiss):
            await call_modern(tape, "tools/call", {"name": "a", "arguments": {"colour": "red", "_": 1}})
        await call_modern(tape, "tools/call", {"name": "a", "arguments": {"colour": "green", "_": 1}})


@pytest.mark.parametrize("other", ["fedcba9876543210", None])
async def test_without_it_a_token_stands_for_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str | None) -> None:
    path = await redacted(tmp_path, KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SHADOWPROXY_REDACTION_KEY", raising=False)
    if other is not None:
        monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", other)
    async with open_replay(path, Replay()) as tape:
        answers = [await call_modern(tape, "tools/call", {"name": "a", "arguments": {"password": word}}) for word in ("x", "y")]
        assert [one["result"] for [one] in answers] == [{"n": 0}, {"n": 1}]
    assert not (tmp_path / "state").exists(), "looking for a key makes none"


async def test_gaps_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gap = Frame(n=9, t=1.0, dir="s2c", kind="gap", lost=3)
    async with open_replay(write_tape(tmp_path / "tape.jsonl", [*FRAMES, gap], msgspec.structs.replace(HEADER)), Replay()):
        pass
    [record] = caplog.records
    assert record.__dict__["missing"] == 3
