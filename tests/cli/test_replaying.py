"""The verb `replay`: what would be run, and what cannot be."""
from __future__ import annotations

from pathlib import Path

import pytest
from replays import handshake
from tapes import write_tape

from shadowproxy import Config
from shadowproxy.cli import exits, main, proxying


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    configs: list[Config] = []

    def start(config: Config) -> int:
        configs.append(config)
        return exits.OK

    monkeypatch.setattr(proxying, "start", start)
    return configs


@pytest.fixture
def tape(tmp_path: Path) -> str:
    return str(write_tape(tmp_path / "tape.jsonl", handshake()))


def test_on_stdio_and_with_listeners_on_http(started: list[Config], tape: str) -> None:
    assert main.run(["replay", tape]) == exits.OK
    assert main.run(["replay", tape, "--listen", "127.0.0.1:1"]) == exits.OK
    assert [(one.upstream.tape, one.stdio, one.listen) for one in started] == [(tape, True, ()), (tape, False, ("127.0.0.1:1",))]


def test_a_live_server_behind_it(started: list[Config], tape: str) -> None:
    assert main.run(["replay", tape, "--on-miss", "forward", "http://x/mcp"]) == exits.OK
    assert main.run(["replay", tape, "--on-miss", "record", "--", "my-server", "--flag"]) == exits.OK
    assert [(one.upstream.url, one.upstream.command, one.replay.on_miss) for one in started] == [
        ("http://x/mcp", (), "forward"), (None, ("my-server", "--flag"), "record")]  # fmt: skip


def test_what_cannot_be_meant_is_told_before_anything_starts(started: list[Config], tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.write_text("no tape")
    for words, said in ((["replay", str(tmp_path / "nowhere")], "No such file"), (["replay", str(other)], "not a tape"), (["replay"], "TAPE"),
                        (["replay", tape, "--on-miss", "forward"], "--on-miss: 'forward' needs a live server"), (["replay", tape, "http://x/mcp"], "must be 'forward'"),
                        (["replay", tape, "--timing", "fast"], "--timing"), (["replay", tape, "--ignore", "x"], "--ignore")):  # fmt: skip
        assert main.run(words) == exits.USAGE, words
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert not started
