"""Levels of log lines: who asked for one gets it and all above it."""
from __future__ import annotations

import itertools

import pytest

from shadowproxy.wire.jsonrpc import Raw
from shadowproxy.wire.levels import LEVELS, admits, rank_of


def raw(level: str) -> Raw:
    return Raw(b'"%b"' % level.encode())


def test_who_asked_gets_this_level_and_those_above() -> None:
    for least, level in itertools.product(range(len(LEVELS)), repeat=2):
        assert admits(raw(LEVELS[least]), raw(LEVELS[level])) == (level >= least)


@pytest.mark.parametrize("odd", [None, Raw(b"5"), Raw(b'"loud"'), Raw(b"null"), Raw(b"{}")])
def test_against_what_is_no_level_nothing_speaks(odd: Raw | None) -> None:
    assert admits(odd, raw("debug"))
    assert admits(raw("error"), odd)


def test_what_is_no_level_has_no_rank() -> None:
    assert [rank_of(level) for level in ("debug", "emergency", "loud", None)] == [0, 7, None, None]
