"""What the mark says: its name, its server, its rules, and what cannot be meant."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shadowproxy.config import Replay, Upstream
from shadowproxy.testing.marks import WrongMark, understand


def mark(*arguments: Any, folder: Path = Path("/tapes"), **options: Any) -> Any:
    return understand(arguments, options, folder, "test_it[a/b-1]")


def test_a_name_is_a_file_in_the_folder(tmp_path: Path) -> None:
    assert mark("echo").path == Path("/tapes/echo.jsonl")
    assert mark(name="deeper/echo").path == Path("/tapes/deeper/echo.jsonl")
    assert mark("echo.jsonl.zst").path == Path("/tapes/echo.jsonl.zst")
    assert mark().path == Path("/tapes/test_it-a-b-1.jsonl")
    (tmp_path / "packed.jsonl.zst").touch()
    assert mark("packed", folder=tmp_path).path == tmp_path / "packed.jsonl.zst"


def test_the_live_server_is_an_address_or_a_command() -> None:
    assert mark(live="http://127.0.0.1:1/mcp").upstream == Upstream(url="http://127.0.0.1:1/mcp")
    assert mark(live=["server", "--flag"]).upstream == Upstream(command=("server", "--flag"))
    with pytest.raises(WrongMark, match="must name the server"):
        mark().upstream


def test_the_rest_are_rules_of_replay() -> None:
    assert mark().replay == Replay()
    assert mark(order="strict", ignore=["/params/now"]).replay == Replay(order="strict", ignore=("/params/now",))
    found = mark(allow_unused=True, allow_misses=True, block=False)
    assert (found.allow_unused, found.allow_misses, found.block) == (True, True, False)


@pytest.mark.parametrize(("arguments", "options", "why"), [
    (("a", "b"), {}, "one name"), ((1,), {}, "one name"), (("a",), {"speed": 2}, "speed"), (("a",), {"order": "sideways"}, "order"), (("a",), {"timing": "slow"}, "timing"),
])  # fmt: skip
def test_what_cannot_be_meant(arguments: tuple[Any, ...], options: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongMark, match=why):
        mark(*arguments, **options)
