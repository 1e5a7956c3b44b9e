"""Equal requests are found together, in the order in which they came."""
from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.replaying.columns import Columns, Open, RecordedSession


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 6))
def test_same(digests: list[int], wanted: int) -> None:
    columns, session = Columns(), RecordedSession("s")
    columns.digest = array("Q", digests)
    session.by_digest = array("I", sorted(range(len(digests)), key=digests.__getitem__))
    assert [session.by_digest[at] for at in columns.same(session, wanted)] == [number for number, digest in enumerate(digests) if digest == wanted]


class Counted:
    """Digests that count how often one is looked at."""

    def __init__(self, digests: list[int]) -> None:
        self.looks, self._digests = 0, digests

    def __getitem__(self, at: int) -> int:
        self.looks += 1
        return self._digests[at]


def test_very_many_equal_requests_are_not_looked_at_one_by_one() -> None:
    """A client that polls asks the same a hundred thousand times, and each time this is asked."""
    columns, session = Columns(), RecordedSession("s", by_digest=array("I", range(10_000)))
    columns.digest = counted = Counted([7] * 10_000)  # type: ignore[assignment]  # all that is asked of it
    assert columns.same(session, 7) == range(10_000)
    assert counted.looks < 100


def test_only_greets() -> None:
    session = RecordedSession("s", requests=array("I", [0]), greetings=array("I", [0]))
    assert session.only_greets
    session.opens.append(Open(3))
    assert not session.only_greets
    assert not RecordedSession("s").only_greets
