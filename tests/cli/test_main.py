"""The entry point: what stands after the first -- is a command, whatever it looks like."""
from __future__ import annotations

import sys

import pytest

from shadowproxy.cli import main, words


@pytest.mark.parametrize(("argv", "said", "command"), [
    (["--", "server"], ["forward"], ["server"]),
    (["--path", "/x", "--", "server"], ["forward", "--path", "/x"], ["server"]),
    (["reverse", "--listen", "a:1", "--", "server", "--", "--help"], ["reverse", "--listen", "a:1"], ["server", "--", "--help"]),
    (["forward", "http://x"], ["forward", "http://x"], []),
    (["--", "--version"], ["forward"], ["--version"]),
])  # fmt: skip
def test_words_and_command(monkeypatch: pytest.MonkeyPatch, argv: list[str], said: list[str], command: list[str]) -> None:
    heard: list[tuple[list[str], list[str]]] = []

    def parse(words: list[str], command: list[str]) -> int:
        heard.append((words, command))
        return 7

    monkeypatch.setattr(words, "parse", parse)
    assert main.run(argv) == 7
    assert heard == [(said, command)]


def test_the_exit_code_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["shadowproxy", "--version"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0
