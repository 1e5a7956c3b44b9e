"""What can be said after `verify`, and where each option goes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shadowproxy.cli import exits, main, verifying
from shadowproxy.cli.verify_words import Wanted


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, Sequence[str], Wanted]]:
    """What would be verified; nothing is."""
    calls: list[tuple[str, str | None, Sequence[str], Wanted]] = []

    def verify(*call: Any) -> int:
        calls.append(call)
        return exits.OK

    monkeypatch.setattr(verifying, "verify", verify)
    return calls


def test_a_tape_and_a_server(asked: list[Any]) -> None:
    assert main.run(["verify", "a.jsonl", "http://server/mcp"]) == exits.OK
    assert main.run(["verify", "a.jsonl", "--verbose", "--", "server", "--x"]) == exits.OK
    assert [call[:3] for call in asked] == [("a.jsonl", "http://server/mcp", []), ("a.jsonl", None, ["server", "--x"])]


@pytest.mark.parametrize(("words", "name", "value"), [
    (["--ignore", "/a", "--ignore", "x/y:/b"], "ignore", ["/a", "x/y:/b"]), (["--fail-on", "missing"], "fail_on", "missing"), (["--json", "-"], "json", "-"),
    (["--junit", "j.xml"], "junit", "j.xml"), (["--patience", "0.5"], "patience", 0.5), (["--config", "c.toml"], "config", "c.toml"), (["--verbose"], "verbose", True),
])  # fmt: skip
def test_what_is_asked_for(asked: list[Any], words: list[str], name: str, value: object) -> None:
    assert main.run(["verify", "a.jsonl", *words, "http://server/mcp"]) == exits.OK
    assert getattr(asked[0][3], name) == value


@pytest.mark.parametrize(("words", "path", "value"), [
    (["--env", "A=1"], "upstream.env", {"A": "1"}), (["--cwd", "/tmp"], "upstream.cwd", "/tmp"), (["--header", "x=1"], "upstream.headers", {"x": "1"}),
    (["--upstream-http2"], "upstream.http2", True), (["--request-timeout", "3"], "timeouts.request", 3.0), (["--log-level", "debug"], "log.level", "debug"),
    ([], "log.level", "warning"), ([], "upstream.http2", None),
])  # fmt: skip
def test_every_setting(asked: list[Any], words: list[str], path: str, value: object) -> None:
    assert main.run(["verify", "a.jsonl", *words, "http://server/mcp"]) == exits.OK
    assert asked[0][3].settings()[path] == value


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["verify", "--help"]) == exits.OK
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("--ignore", "--junit", "--json", "--fail-on"))
