"""Any history of a crowd: nobody gets what is another's, everybody gets an answer or a clean error, and nothing is held for who has left.

The long form is `nox -s long`.
"""
from __future__ import annotations

from random import Random

import pytest
from cancelling import virtually
from crowd.clients import crowd
from crowd.kinds import KINDS, Kind
from crowd.plans import draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

#: httpx leaves the generators of a response that was let go midway to the collector.
by_httpx = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[by_httpx] if kind.carrier == "httpx" else []) for kind in KINDS], ids=str)
def test_nobody_ever_gets_what_is_anothers(kind: Kind) -> None:
    @settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def run(random: Random) -> None:
        plan = draw(random, kind.era == "modern", sessions=4, steps=4)
        virtually(lambda: crowd(kind, plan))

    run()
