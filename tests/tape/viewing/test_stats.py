"""What is on a tape in numbers: counts that are right, quantiles that are near, memory that does not grow."""
from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from conversations import conversation
from hypothesis import given
from hypothesis import strategies as st
from tapes import notification, request, response

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.viewing import stats
from shadowproxy.tape.viewing.rows import rows
from shadowproxy.tape.viewing.stats import OTHERS, Durations, Statistics


def counted(frames: Iterable[Frame]) -> Statistics:
    found = Statistics()
    for row in rows(frames):
        found.add(row)
    return found


def test_a_conversation() -> None:
    frames = conversation()
    found = counted(frames)
    assert (found.frames, found.lost, found.seconds, found.sessions) == (28, 3, 61.0, {"s1"})
    assert found.bytes == sum(len(bytes(frame.message)) for frame in frames if frame.message is not None)
    assert found.kinds["request"] == 10
    assert (found.methods["tools/call"].count, found.methods["tools/call"].errors) == (4, 1), "answered, failed, cancelled, answered"
    assert (found.tools["slow"].count, found.tools["fail"].errors, found.tools["echo"].errors) == (2, 1, 0)
    assert found.methods["ping"].errors == 1, "a refusal"


@given(st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantiles_are_near(values: list[float], share: float) -> None:
    found = Durations()
    for value in values:
        found.add(value, error=False)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    assert found.quantile(share) == pytest.approx(exact, rel=0.03)
    assert found.longest == max(values)


def test_nothing_measured() -> None:
    found = Durations()
    found.add(None, error=True)
    assert found.told() == {"count": 1, "errors": 1, "p50": None, "p95": None, "max": None}


def test_memory_does_not_grow_with_the_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that makes up names, and clients without end."""
    monkeypatch.setattr(stats, "NAMES", 10)
    frames: list[Frame] = []
    for n in range(1, 1001, 2):
        frames += [request(n, f"method/{n}", session=f"s{n}"), response(n + 1, n, session=f"s{n}")]
    found = counted(frames)
    assert len(found.methods) == 11
    assert found.methods[OTHERS].count == 490
    assert len(found.sessions) == 10
    durations, chance = Durations(), random.Random(1)
    for _ in range(10_000):
        durations.add(chance.lognormvariate(0, 3), error=False)
    assert len(durations._classes) < 600


def test_what_was_replaced_is_counted() -> None:
    found = counted([notification(1, "x", redacted=("github", "email")), notification(2, "x", redacted=("email",))])
    assert found.redacted == {"email": 2, "github": 1}
