"""Crossing: recorded and live messages of a server find each other, whichever comes first."""
from __future__ import annotations

from typing import Any

from dialogue import message
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.matching.jsondiff import VOLATILE
from shadowproxy.tape.verifying.crossing import MOST, Arrived, Crossing, Expected
from shadowproxy.wire.jsonrpc import Message

PROGRESS, LOG, ASK = "notifications/progress", "notifications/message", "sampling/createMessage"


class Pairs:
    """What was paired: the values of a parameter, None where there was nobody."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, Any]] = []
        self.crossing = Crossing(VOLATILE, self.pair)

    def pair(self, expected: Expected | None, arrived: Arrived | None) -> None:
        self.found.append((None if expected is None else value(expected.message), None if arrived is None else value(arrived.message)))

    def expect(self, one: Message, n: int = 1, exchange: int | None = None) -> None:
        self.crossing.expect(Expected(one, n, exchange))

    def arrive(self, one: Message, exchange: int | None = None) -> None:
        self.crossing.arrive(Arrived(one, exchange))


def value(one: Message) -> Any:
    return int(bytes(one.params()["x"]))


def note(x: int, method: str = LOG, **params: Any) -> Message:
    return message(method=method, params={"x": x, **params})


def ask(x: int, id: int = 1) -> Message:
    return message(id=id, method=ASK, params={"x": x})


def test_equal_ones_find_each_other_in_any_order() -> None:
    pairs = Pairs()
    pairs.expect(note(1))
    pairs.expect(note(2))
    pairs.arrive(note(2))
    assert pairs.found == [(2, 2)]
    pairs.arrive(note(3))
    pairs.expect(note(3))
    assert pairs.found == [(2, 2), (3, 3)]
    assert pairs.crossing.behind()
    pairs.arrive(note(1))
    assert not pairs.crossing.behind()


def test_changed_notifications_wait_for_the_end() -> None:
    pairs = Pairs()
    pairs.expect(note(1))
    pairs.arrive(note(9))
    assert pairs.found == []
    assert not pairs.crossing.behind(), "as many have come as were recorded"
    pairs.arrive(note(5, "notifications/tools/list_changed"))
    pairs.expect(note(7, PROGRESS))
    assert pairs.crossing.behind()
    pairs.crossing.settle()
    assert sorted(pairs.found, key=str) == [(1, 9), (7, None), (None, 5)]


def test_a_changed_request_is_paired_as_soon_as_that_is_certain_because_it_waits_for_its_answer() -> None:
    pairs = Pairs()
    pairs.expect(ask(1), exchange=4)
    pairs.arrive(ask(2, id=77), exchange=4)
    pairs.arrive(ask(3, id=78), exchange=5)
    assert pairs.found == [], "the one that it equals may be further on"
    pairs.crossing.pair_changed(4)
    assert pairs.found == [(1, 2)]


def test_a_request_that_has_waited_long_enough() -> None:
    pairs = Pairs()
    pairs.expect(ask(1), exchange=4)
    changed, extra = Arrived(ask(2), 5), Arrived(ask(3), 5)
    pairs.crossing.arrive(changed)
    pairs.crossing.arrive(extra)
    assert pairs.crossing.give_up(changed)
    assert not pairs.crossing.give_up(extra)
    assert pairs.found == [(1, 2), (None, 3)]


def test_a_request_and_a_notification_of_one_name_are_not_the_same() -> None:
    pairs = Pairs()
    pairs.expect(ask(1))
    pairs.arrive(note(1, ASK))
    assert pairs.found == []


def test_progress_is_told_apart_by_its_token() -> None:
    pairs = Pairs()
    pairs.expect(note(1, PROGRESS, progressToken="a"))
    pairs.arrive(note(2, PROGRESS, progressToken="b"))
    pairs.crossing.settle()
    assert pairs.found == [(1, None), (None, 2)]


def test_settling_some_leaves_the_others() -> None:
    pairs = Pairs()
    pairs.expect(note(1), exchange=1)
    pairs.expect(note(2), exchange=2)
    pairs.arrive(note(3), exchange=1)
    pairs.crossing.settle(lambda one: one.exchange == 1)
    assert pairs.found == [(1, 3)]
    assert [one.exchange for one in pairs.crossing.expected] == [2]


def test_redacted_ones_are_paired_too() -> None:
    pairs = Pairs()
    pairs.expect(note(1, data="key [REDACTED:key:0123456789abcdef]"))
    pairs.arrive(note(1, data="key sk-1"))
    assert pairs.found == [(1, 1)]


def test_what_is_waived_holds_nobody_up() -> None:
    pairs = Pairs()
    pairs.expect(note(1))
    pairs.crossing.waive()
    assert not pairs.crossing.behind()
    pairs.arrive(note(1))
    assert pairs.found == [(1, 1)], "late is not never"


def test_parameters_that_are_no_object() -> None:
    pairs = Pairs()
    pairs.crossing.expect(Expected(message(method=PROGRESS, params=[1]), 1, None))
    assert pairs.crossing.behind()


def test_both_sides_are_bounded() -> None:
    pairs = Pairs()
    for number in range(MOST + 1):
        pairs.expect(note(number))
    for number in range(MOST + 1):
        pairs.arrive(note(-1 - number))
    assert pairs.found == [(0, None), (None, -1)]


@given(st.lists(st.integers(0, 3), max_size=12), st.permutations(range(12)), st.randoms())
def test_any_interleaving_of_the_same_messages_pairs_all(values: list[int], order: list[int], random: Any) -> None:
    pairs = Pairs()
    arriving = [values[at] for at in order if at < len(values)]
    expecting = list(values)
    while arriving or expecting:
        if arriving and (not expecting or random.random() < 0.5):
            pairs.arrive(note(arriving.pop()))
        else:
            pairs.expect(note(expecting.pop(0)))
    assert sorted(old for old, _ in pairs.found) == sorted(values)
    assert all(old == new for old, new in pairs.found)
