"""How a row looks: columns that stand under one another whatever is in them, colour when it is wanted, and no control character ever."""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tapes import happening, notification, request

from shadowproxy.cli.tape_lines import Lines, fitting, plain, size, span
from shadowproxy.tape.viewing.rows import rows

ANSI = re.compile("\x1b\\[[0-9;]*m")


@given(st.text(), st.integers(1, 60))
def test_fitting_fills_exactly(text: str, width: int) -> None:
    assert cell_len(fitting(text, width)) == width
    assert fitting(text, width).isprintable()


@given(st.text())
def test_plain_is_printable_and_keeps_what_is(text: str) -> None:
    assert plain(text).isprintable()
    if text.isprintable():
        assert plain(text) == text


@given(st.text(), st.text(), st.text(), st.integers(40, 200), st.booleans())
def test_nothing_on_a_tape_reaches_the_terminal_but_text(method: str, session: str, text: str, width: int, whole: bool) -> None:
    lines = Lines(colour=True, width=width)
    (row,) = rows([request(1, method, {text: text}, id=text, session=session)])
    for line in lines.whole(row) if whole else [lines.line(row)]:
        assert ANSI.sub("", line).isprintable()


def test_colour_is_there_when_it_is_wanted() -> None:
    (row,) = rows([request(1, "ping")])
    assert "\x1b[" in Lines(colour=True, width=80).line(row)
    assert "\x1b[" not in Lines(colour=False, width=80).line(row)
    assert ANSI.sub("", Lines(colour=True, width=80).line(row)).rstrip() == Lines(colour=False, width=80).line(row)


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_line_is_no_longer_than_the_terminal_is_wide(width: int) -> None:
    frames = [notification(1, "notifications/message", {"data": "Žluťoučký kůň 漢字 " * 50}), happening(2, "gap", lost=1, text="x" * 500)]
    for row in rows(frames):
        assert cell_len(Lines(colour=False, width=width).line(row)) <= max(width, 105)


@pytest.mark.parametrize(("seconds", "text"), [
    (None, ""), (0.0, "0.0ms"), (0.00123, "1.2ms"), (0.0994, "99.4ms"), (0.0996, "100ms"), (0.5, "500ms"), (0.9996, "1.00s"), (61, "61.00s"), (3600, "3600s"),
])  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2_500_000, "2.5 MB"), (2_000_000_000, "2.0 GB"), (5e12, "5000.0 GB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_the_sides_of_the_proxy_are_told_apart() -> None:
    frames = [request(1, "ping"), request(2, "ping", exchange=1, leg="client"), request(3, "ping", exchange=1, leg="server")]
    lines = [Lines(colour=False, width=80).line(row) for row in rows(frames)]
    assert [line.split()[1] for line in lines] == ["→", "→c", "→s"]
    assert len({line.index("ping") for line in lines}) == 1
