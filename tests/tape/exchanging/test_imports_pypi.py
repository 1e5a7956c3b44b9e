"""Cassettes of PyPI's mcp-cassette, written by its own models (0.4.0, format version 3)."""
from __future__ import annotations

from pathlib import Path

import pytest

from shadowproxy.tape.exchanging.imports import open_foreign

FOREIGN = Path(__file__).parent / "foreign"


def test_stdio() -> None:
    with open_foreign(FOREIGN / "pypi_stdio.json") as found:
        frames = list(found)
    header = found.header
    assert (header.era, header.session) == ("legacy", "s1")
    assert header.server is not None
    assert bytes(header.server) == b'{"name":"weather","version":"0.3"}'
    assert header.origin == pytest.approx(1789466405 - 0.15), "its time is that of the end"
    assert [frame.kind for frame in frames] == ["request", "response", "notification", "request", "notification", "request", "response", "response"]
    asked, progress, question, answer, answered = frames[3:]
    assert progress.exchange == asked.exchange, "by its progress token"
    assert (answer.re, answered.re) == (question.n, asked.n), "both sides use ids of their own"
    assert asked.redacted == ("mcp-cassette",)
    assert asked.message is not None
    assert b"\n" not in bytes(asked.message)
    assert "Žilina".encode() in bytes(asked.message)
    assert found.left_out == {"messages that are no JSON-RPC": 2}


def test_http() -> None:
    """An exchange with several answers was a stream; what came on the GET stream has an opening of its own."""
    with open_foreign(FOREIGN / "pypi_http.json") as found:
        frames = list(found)
    assert found.header.upstream == "https://weather.example/mcp"
    assert [(frame.kind, frame.exchange, frame.stream) for frame in frames] == [
        ("request", 1, None), ("response", 1, None), ("notification", None, None), ("open", 2, "g2"), ("notification", 2, "g2"), ("request", 3, None),
        ("notification", 3, "x3"), ("request", 3, "x3"), ("response", None, None), ("response", 3, "x3"),
    ]  # fmt: skip
    assert frames[0].http is not None
    assert frames[0].http.method == "POST"
