"""Part of a tape: the exchanges that a filter is true of, whole; or the very frames."""
from __future__ import annotations

import sys

import pytest
from conversations import conversation
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.viewing.choosing import Choice, Numbers
from shadowproxy.tape.viewing.filters import compile_filter
from shadowproxy.tape.viewing.rows import rows


def chosen(text: str, *, whole: bool = True) -> list[int]:
    choice = Choice(compile_filter(text), whole=whole)
    assert choice.look(conversation()) == bool(list(filter(compile_filter(text), rows(conversation()))))
    return [frame.n for frame in choice.frames(conversation())]


@pytest.mark.parametrize(("text", "numbers"), [
    ("dur>500ms", [3, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    ("method:initialize", [1, 2, 3]),
    ("kind:gap", [3, 24]),
    ("method:notifications/initialized", [3, 4]),
    ("status=401", [3, 20, 21]),
    ("kind:cancelled", [3, 22, 23]),
    ("dur>1h", [3]),
])  # fmt: skip
def test_whole_exchanges(text: str, numbers: list[int]) -> None:
    """With what was learned of the server (3), and the client's answer (13) to the question (11) on a stream that was chosen."""
    assert chosen(text) == numbers


@given(st.lists(st.integers(0, 1 << 70)), st.lists(st.integers(0, 20_000)))
def test_numbers_are_a_set(far: list[int], near: list[int]) -> None:
    numbers, expected = Numbers(), {*far, *near}
    assert not numbers
    for number in [*far, *near]:
        numbers.add(number)
    assert bool(numbers) == bool(expected)
    assert {number for number in [*expected, *range(20_001)] if number in numbers} == expected


def test_a_million_of_them_are_small() -> None:
    numbers = Numbers()
    for number in range(1_000_000):
        numbers.add(number)
    assert sum(map(sys.getsizeof, numbers._bits.values())) < 200_000


@given(st.sampled_from(["err", "kind:response", "tool:slow", "!tool:slow", "dir:c2s", "n>10"]))
def test_the_very_frames(text: str) -> None:
    wanted = compile_filter(text)
    assert chosen(text, whole=False) == [row.frame.n for row in rows(conversation()) if wanted(row)]
