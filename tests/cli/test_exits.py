"""The exit codes are those that the documentation and the help name."""
from __future__ import annotations

from pathlib import Path

import pytest

from shadowproxy.cli import exits
from shadowproxy.cli.words import EXAMPLES

CODES = {name: value for name, value in vars(exits).items() if name.isupper()}


def test_they_differ() -> None:
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("code", CODES.values())
def test_they_are_documented(code: int) -> None:
    assert f"{code} " in EXAMPLES
    assert f"| {code} |" in (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
