"""Every option of `replay` reaches its setting."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replays import handshake
from tapes import write_tape

from shadowproxy import Config
from shadowproxy.cli import exits, main, proxying
from shadowproxy.cli.replay_words import Rules


@pytest.mark.parametrize(("words", "name", "value"), [
    (["--on-miss", "warn"], "on_miss", "warn"), (["--order", "strict"], "order", "strict"), (["--repeats", "none"], "repeats", "none"),
    (["--timing", "cap:2"], "timing", "cap:2"), (["--ignore", "/params/a", "--ignore", "m:/params/b"], "ignore", ("/params/a", "m:/params/b")),
])  # fmt: skip
def test_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], name: str, value: Any) -> None:
    configs: list[Config] = []
    monkeypatch.setattr(proxying, "start", lambda config: configs.append(config) or exits.OK)  # type: ignore[func-returns-value]  # that it returns None is the point
    assert main.run(["replay", str(write_tape(tmp_path / "t.jsonl", handshake())), *words]) == exits.OK
    assert getattr(configs[0].replay, name) == value


def test_what_is_not_given_is_left_to_the_file_and_the_defaults() -> None:
    assert set(Rules().settings().values()) == {None}
