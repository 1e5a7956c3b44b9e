"""Pauses between a death and the next birth."""
from __future__ import annotations

import pytest
import trio
import trio.testing

from shadowproxy.upstream.restarts import FIRST, LAST, STEADY, Restarts


async def test_the_first_birth_waits_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    await Restarts().pause()
    assert trio.current_time() == 0


async def test_pauses_double_up_to_a_limit_while_they_die_young(autojump_clock: trio.testing.MockClock) -> None:
    restarts, pauses = Restarts(), []
    for _ in range(2000):
        restarts.died(born := trio.current_time())
        await restarts.pause()
        pauses.append(trio.current_time() - born)
    assert pauses == pytest.approx([min(LAST, FIRST * 2.0**n) for n in range(30)] + [LAST] * 1970)


async def test_a_steady_life_starts_the_count_anew(autojump_clock: trio.testing.MockClock) -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.died(trio.current_time())
    await trio.sleep(STEADY + 1)
    restarts.died(0)
    await restarts.pause()
    assert trio.current_time() == STEADY + 1 + FIRST
