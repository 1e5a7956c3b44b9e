"""The pool's long form, for a short while."""
from __future__ import annotations

from random import Random

import pytest
from crowd.leases import lend
from crowd.seeded import by_seed

ALL_ENDS = {"given back", "given back broken", "could not be opened", "waited in vain", "cancelled with it", "cancelled before it had one"}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost(seed: int) -> None:
    ends = by_seed(seed, lambda: lend(seed, 1000))
    assert ends.total() == 1000
    assert set(ends) == ALL_ENDS


def test_a_seed_says_all() -> None:
    seed = Random().getrandbits(32)
    assert by_seed(seed, lambda: lend(seed, 100)) == by_seed(seed, lambda: lend(seed, 100))
