"""A run in virtual time in which a seed says everything, the order of tasks included.

In: a seed and an async function. Out: what it gives. Trio shuffles the tasks of each round by a `Random` of its own, which is seeded here as its plugin for
Hypothesis does it; it is private, and there is no other way.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from cancelling import virtually
from trio._core import _run

T = TypeVar("T")


def by_seed(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    _run._hypothesis_plugin_setup()
    state = _run._r.getstate()
    _run._r.seed(seed)
    try:
        return virtually(main)
    finally:
        _run._r.setstate(state)
