"""Alignment: which request of one tape is which of another, by what was asked and in which order, never by when."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tapes import happening, notification, request, response

from shadowproxy.tape.comparing import alignment
from shadowproxy.tape.comparing.alignment import Alignment, Side
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.jsondiff import VOLATILE, Ignoring


def pairs(a: Sequence[Frame], b: Sequence[Frame], ignoring: Ignoring = VOLATILE) -> list[tuple[int | None, int | None, bool]]:
    """Frame numbers, and whether they are equal. (A frame stands at the byte of its number here.)"""
    sides: tuple[tuple[Side, Sequence[Frame]], ...] = ((0, a), (1, b))
    with Alignment(ignoring) as both:
        for side, frames in sides:
            for frame in frames:
                both.add(side, frame, frame.n)
        return [(pair.a and pair.a.n, pair.b and pair.b.n, pair.equal) for pair in both.pairs()]  # type: ignore[misc]  # a place is never false


def talk(*names: str, session: str | None = "s1", first: int = 1, result: Any = 0) -> list[Frame]:
    frames: list[Frame] = []
    for n, name in zip(range(first, 1000, 2), names, strict=False):
        frames += [request(n, "tools/call", {"name": name}, id=n, session=session), response(n + 1, re=n, id=n, result={"x": result}, session=session)]
    return frames


def test_the_first_is_the_first_and_the_second_the_second() -> None:
    assert pairs(talk("a", "b", "a"), talk("a", "a", "b")) == [(1, 1, True), (3, 5, True), (5, 3, True)]


def test_what_only_one_has() -> None:
    assert pairs(talk("a", "b"), talk("b", "c")) == [(1, None, False), (3, 1, True), (None, 3, False)]
    assert pairs([], talk("a")) == [(None, 1, False)]


def test_the_same_call_in_other_words() -> None:
    old, new = (request(1, "tools/call", {"name": "a", "arguments": {"x": x}}) for x in (1, 2))
    assert pairs([old], [new]) == [(1, 1, False)]
    assert pairs([old], [request(1, "tools/call", {"name": "b"})]) == [(1, None, False), (None, 1, False)]


def test_answers_count() -> None:
    assert pairs(talk("a"), talk("a", result=1)) == [(1, 1, False)]
    assert pairs(talk("a"), talk("a")[:1]) == [(1, 1, False)]
    refused = [talk("a")[0], happening(2, "refusal", re=1, exchange=1, error="upstream_timeout")]
    assert pairs(refused, refused) == [(1, 1, True)]
    assert pairs(refused, talk("a")) == [(1, 1, False)]
    without_re = [talk("a")[0], happening(2, "close", exchange=1, stream="x1")]
    assert pairs(without_re, without_re) == [(1, 1, True)]


def test_sessions_are_known_by_what_they_begin_with() -> None:
    one, other = talk("one", "same", session="s1"), talk("other", "same", session="s2", first=11)
    swapped = [*talk("other", "same", session="s1"), *talk("one", "same", session="s2", first=11)]
    assert pairs([*one, *other], swapped) == [(1, 11, True), (3, 13, True), (11, 1, True), (13, 3, True)]
    assert pairs(talk("a", "b", session="s7"), talk("a", "b", session=None)) == [(1, 1, True), (3, 3, True)]
    assert pairs(talk("x", "b", session="s1"), talk("y", "b", session="s1")) == [(1, None, False), (None, 1, False), (3, 3, True)], "else by their order"


def test_directions_and_legs_are_kept_apart() -> None:
    note = {"x": 1}
    assert pairs([notification(1, "m", note, dir="c2s")], [notification(1, "m", note, dir="s2c")]) == [(1, None, False), (None, 1, False)]
    assert pairs([notification(1, "m", note, leg="client"), notification(2, "m", note, leg="server")], [notification(1, "m", note, leg="server")]) == [(1, None, False), (2, 1, True)]


def test_ids_and_what_is_ignored_do_not_count() -> None:
    old, new = request(1, "a", {"t": 1, "_meta": {"progressToken": 1}}, id=1), request(1, "a", {"t": 2}, id="x")
    assert pairs([old], [new], VOLATILE.and_also(["/params/t"])) == [(1, 1, True)]
    assert pairs([old], [], VOLATILE.and_also(["a:"])) == []


def test_what_waits_for_an_answer_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(alignment, "WAITING", 2)
    frames = [request(1, "a"), request(2, "b"), request(3, "c"), response(4, re=1), response(5, re=3)]
    assert pairs(frames, [request(1, "a"), request(2, "b"), request(3, "c")]) == [(1, 1, True), (2, 2, True), (3, 3, False)]


MESSAGES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "s1", "s2"]), st.integers(0, 1)), max_size=12)


@given(MESSAGES)
def test_a_tape_is_aligned_with_itself(messages: list[tuple[str, str | None, int]]) -> None:
    frames = [frame for n, (name, session, x) in enumerate(messages) for frame in talk(name, session=session, first=2 * n + 1, result=x)]
    assert pairs(frames, frames) == [(2 * n + 1, 2 * n + 1, True) for n in range(len(messages))]


@given(MESSAGES, MESSAGES)
def test_every_request_is_in_exactly_one_pair(a: list[tuple[str, str | None, int]], b: list[tuple[str, str | None, int]]) -> None:
    sides = [[frame for n, (name, session, x) in enumerate(side) for frame in talk(name, session=session, first=2 * n + 1, result=x)] for side in (a, b)]
    found = pairs(sides[0], sides[1])
    for which, side in enumerate((a, b)):
        assert sorted(pair[which] or 0 for pair in found if pair[which] is not None) == [2 * n + 1 for n in range(len(side))]
