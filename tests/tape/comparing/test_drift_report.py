"""Reports of drift, in three forms; what a server says never becomes markup."""
from __future__ import annotations

import io
import json
from typing import Any

import pytest

from shadowproxy.tape.comparing.drift_report import cell, write_drift
from shadowproxy.tape.comparing.schema_drift import Change

EVIL = Change("dangerous", "tool [bold]x[/bold]", "/description", "description changed", "a", "b | `c` <script>\u200b [red]")
FOUND = [("s1 -> s2", [Change("breaking", "tool y", "", "removed"), EVIL])]


def written(format: Any, found: Any = FOUND) -> str:
    out = io.StringIO()
    write_drift(found, format, out)
    return out.getvalue()


def test_text() -> None:
    assert written("text").splitlines() == [
        "s1 -> s2", "breaking  tool y: removed",
        'dangerous tool [bold]x[/bold] /description: description changed: "a" -> "b | `c` <script>\\u200b [red]"', "drift: 1 breaking, 1 dangerous"]  # fmt: skip


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_what_a_server_says_is_seen(format: str) -> None:
    """A name that would clear the screen, or turn the line around."""
    evil = "echo\x1b[2J\u202e"
    assert all(line.isprintable() for line in written(format, [(evil, [Change("breaking", evil, f"/{evil}", f"{evil} removed", evil)])]).splitlines())


def test_json() -> None:
    (found,) = json.loads(written("json"))["drift"]
    assert (found["between"], [change["grade"] for change in found["changes"]]) == ("s1 -> s2", ["breaking", "dangerous"])
    assert json.loads(written("json", [])) == {"drift": []}


def test_markdown() -> None:
    lines = written("markdown").splitlines()
    assert "1 breaking, 1 dangerous." in lines
    assert "| **breaking** | `tool y` |  | `removed` |" in lines
    assert lines[-1] == '| **dangerous** | `tool [bold]x[/bold]` | `/description` | ``description changed: "a" -> "b \\| `c` <script>\\u200b [red]"`` |'


@pytest.mark.parametrize(("text", "shown"), [("", ""), ("a", "`a`"), ("`", "`` ` ``"), ("a``b`c", "```a``b`c```"), ("a|b\nc", "`a\\|b c`")])
def test_a_cell_shows_text_as_it_is(text: str, shown: str) -> None:
    assert cell(text) == shown
