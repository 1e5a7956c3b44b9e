"""The nearest recorded request, and how the difference is told."""
from __future__ import annotations

import json
from typing import Any

from shadowproxy.tape.matching.match import Matching, Wanted
from shadowproxy.tape.matching.nearest import CANDIDATES, nearest

MATCHING = Matching()


def wanted(**params: Any) -> Wanted:
    return MATCHING.recorded("m", json.dumps({"params": params}).encode())


def test_the_fewest_differences_win_and_the_first_of_several() -> None:
    near = nearest(wanted(a=1, b=2, c=3), [(1, wanted(a=9, b=9, c=3)), (2, wanted(a=1, b=2, c=4)), (3, wanted(a=1, b=5, c=3))], MATCHING)
    assert near is not None
    assert near.payload() == {"n": 2, "differences": [{"pointer": "/params/c", "recorded": "4", "asked": "3"}]}
    assert near.words() == "the nearest is frame 2, recorded -> asked: /params/c: 4 -> 3"


def test_what_is_missing_on_one_side_and_how_many_more() -> None:
    near = nearest(wanted(new=1), [(4, wanted(old="x"))], MATCHING)
    assert near is not None
    assert near.payload()["differences"] == [{"pointer": "/params/old", "recorded": '"x"'}, {"pointer": "/params/new", "asked": "1"}]
    assert near.words().endswith("(and 1 more)")


def test_the_same_request_has_no_difference() -> None:
    near = nearest(wanted(a=1), [(1, wanted(a=2)), (2, wanted(a=1.0))], MATCHING)
    assert near is not None
    assert (near.n, near.differences) == (2, ())


def test_nothing_to_compare_with() -> None:
    assert nearest(wanted(a=1), [], MATCHING) is None


def test_it_is_bounded() -> None:
    """So many candidates, so much of a value."""
    seen = []

    def candidates() -> Any:
        for n in range(10_000):
            seen.append(n)
            yield n, wanted(a="x" * 5000, n=n)

    near = nearest(wanted(a="y"), candidates(), MATCHING)
    assert near is not None
    assert len(seen) <= CANDIDATES + 1
    assert len(json.dumps(near.payload())) < 1000
