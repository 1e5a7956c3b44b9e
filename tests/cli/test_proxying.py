"""What the verbs set up for the whole process."""
from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from shadowproxy.cli import proxying


@pytest.fixture
def collector() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("collector")
def test_the_collector_leaves_modules_alone_and_some_hundred_exchanges_too() -> None:
    proxying.ease_collection()
    assert gc.get_freeze_count() > 10_000
    before = gc.get_stats()[0]["collections"]
    kept = [[number] for number in range(proxying.COLLECT // 2)]
    assert gc.get_stats()[0]["collections"] - before <= 1
    assert len(kept) == proxying.COLLECT // 2


@pytest.mark.usefixtures("collector")
def test_cycles_are_still_collected() -> None:
    proxying.ease_collection()
    gone: list[int] = []

    class Ring:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            gone.append(1)

    for _ in range(2 * proxying.COLLECT):
        Ring()
    assert len(gone) > proxying.COLLECT // 2
