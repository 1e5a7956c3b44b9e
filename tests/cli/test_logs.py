"""The log goes to standard error, as text or as JSON, with what was said beside the message; nothing goes to standard output."""
from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from shadowproxy.cli import logs


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    before = logs.log.handlers, logs.log.level, logs.log.propagate
    yield
    logs.log.handlers, logs.log.propagate = before[0], before[2]
    logs.log.setLevel(before[1])


def test_json(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.log.info("listening", extra={"address": "http://x/mcp"})
    out, err = capfd.readouterr()
    assert out == ""
    line = json.loads(err)
    assert line["event"] == "listening"
    assert line["level"] == "info"
    assert line["address"] == "http://x/mcp"
    assert line["timestamp"]


def test_text(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text")
    logs.log.warning("careful", extra={"reason": "because"})
    _, err = capfd.readouterr()
    assert "careful" in err
    assert "reason=because" in err


@pytest.mark.parametrize("level", logs.LEVELS)
def test_levels(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(level, "json")
    for each in logs.LEVELS:
        logs.log.log(getattr(logging, each.upper()), each)
    said = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert said == list(logs.LEVELS[logs.LEVELS.index(level) :])


def test_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    try:
        raise ZeroDivisionError("nothing")
    except ZeroDivisionError:
        logs.log.exception("a bug")
    assert "ZeroDivisionError: nothing" in json.loads(capfd.readouterr().err)["exception"]
