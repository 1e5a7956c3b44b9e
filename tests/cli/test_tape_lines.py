"""How a row looks: columns that stand under one another whatever is in them, colour when it is wanted, and no control character ever."""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tapes import happening, notification, request, response

from shadowproxy.cli.tape_lines import Lines, fitting, size, span
from shadowproxy.tape.viewing.rows import rows

ANSI = re.compile("\x1b\\[[0-9;]*m")


@given(st.text(), st.integers(1, 60))
def test_fitting_fills_exactly(text: str, width: int) -> None:
    assert cell_len(fitting(text, width)) == width
    assert fitting(text, width).isprintable()


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


@pytest.mark.parametrize("width", [40, 60, 76, 80, 89, 90, 91, 100, 120, 200])
def test_a_line_is_no_longer_than_the_terminal_is_wide(width: int) -> None:
    frames = [notification(1, "notifications/message", {"data": "Žluťoučký kůň 漢字 " * 50}), happening(2, "gap", lost=1, text="x" * 500),
              request(3, "tools/call", {"name": "x" * 100}, session="a long session's name"), response(4, 3, t=99_999.0)]  # fmt: skip
    lines = Lines(colour=False, width=width)
    for line in (lines.head(), *map(lines.line, rows(frames))):
        assert cell_len(line) <= width
    assert lines.head().index("what") == lines.line(next(rows(frames))).index("notif")


def test_on_a_narrow_terminal_what_matters_most_is_seen() -> None:
    rest = {"id": 1, "session": "s1", "exchange": 7}
    answer = list(rows([request(1, "tools/call", {"name": "search"}, **rest), response(2, 1, error={"code": 1, "message": "no"}, **rest)]))[1]
    assert Lines(colour=False, width=200).line(answer).split()[2:8] == ["s1", "7", "tools/call", "search", "100ms", "error"]
    assert Lines(colour=False, width=80).line(answer).split()[2:6] == ["tools/call", "search", "100ms", "error"]
    assert Lines(colour=False, width=40).line(answer).split()[3:] == ["100ms", "error"]


@pytest.mark.parametrize(("seconds", "text"), [
    (None, ""), (0.0, "0.0ms"), (0.00123, "1.2ms"), (0.0994, "99.4ms"), (0.0996, "100ms"), (0.5, "500ms"), (0.9996, "1.00s"), (61, "61.00s"), (99.99, "99.99s"), (99.996, "1m40s"), (119.6, "2m00s"), (3599.4, "59m59s"), (3600, "1h00m"), (123_456, "34h17m"),
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
