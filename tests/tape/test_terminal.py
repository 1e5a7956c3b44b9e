"""Lines for a terminal: text as it is, spelled out where it is not printable, with colour where that is wanted."""
from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.terminal import PIPED, Terminal, plain

ANSI = re.compile("\x1b\\[[0-9;]*m")
STYLES = ["", "dim", "bold red", "green"]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_plain_is_printable_and_keeps_what_is(text: str) -> None:
    assert plain(text).isprintable()
    if text.isprintable():
        assert plain(text) == text


@given(st.lists(st.tuples(st.sampled_from(STYLES), st.text())), st.booleans())
def test_a_line_is_one_line_of_text(parts: list[tuple[str, str]], colour: bool) -> None:
    out = io.StringIO()
    Terminal(out, colour=colour).line(*parts)
    line = out.getvalue()
    assert line.endswith("\n")
    assert ANSI.sub("", line[:-1]) == "".join(plain(text) for _, text in parts)
    assert colour or line == ANSI.sub("", line)


@pytest.mark.parametrize(("out", "no_color", "coloured"), [(Screen(), "", True), (Screen(), "1", False), (io.StringIO(), "", False)])
def test_colour_is_for_who_can_see_it(out: io.StringIO, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    assert (Terminal(out).paint("bold red", "x") != "x") == coloured


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert (Terminal(io.StringIO()).width, Terminal(io.StringIO(), width=50).width) == (PIPED, 50)
    assert Terminal(Screen()).width == 77


def test_who_does_not_read_is_told_of() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Terminal(Gone()).line(("", "x"))
