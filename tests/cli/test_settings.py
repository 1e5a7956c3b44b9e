"""Pairs of the command line; how options and file meet is shown in test_main.py."""
from __future__ import annotations

import pytest

from shadowproxy.cli.settings import pairs, settle
from shadowproxy.errors import ConfigError


def test_pairs() -> None:
    assert pairs("--env", None) is None
    assert pairs("--env", ["A=", "B=x=y"]) == {"A": "", "B": "x=y"}
    for wrong in ("A", "=x"):
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            pairs("--env", [wrong])


def test_what_is_not_given_is_left_to_its_default() -> None:
    config = settle(None, "http://x/mcp", (), {"path": None, "timeouts.request": None})
    assert (config.path, config.timeouts.request) == ("/mcp", 60)
