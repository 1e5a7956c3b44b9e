"""Logs of mcpsnoop, by the fields of its `Envelope`: what becomes a frame, and what is left out and counted."""
from __future__ import annotations

from pathlib import Path

import pytest

from shadowproxy.tape.exchanging.imports import open_foreign
from shadowproxy.tape.frame import Frame, Unreadable

FOREIGN = Path(__file__).parent / "foreign"


def test_stdio() -> None:
    with open_foreign(FOREIGN / "mcpsnoop_stdio.jsonl") as found:
        frames = list(found)
    assert found.header.upstream == "node build/index.js --city 'New York'"
    assert found.header.origin == pytest.approx(1783152000.123456, abs=1e-5)
    assert [(frame.dir, frame.kind, frame.method) for frame in frames] == [
        ("c2s", "request", "initialize"), ("s2c", "response", None), ("c2s", "notification", "notifications/initialized"), ("s2c", "gap", None),
        ("c2s", "request", "tools/call"), ("s2c", "response", None), ("s2c", "gap", None),
    ]  # fmt: skip
    assert {frame.session for frame in frames} == {"01JA"}
    missing, asked, answered, cut = frames[3:]
    assert (missing.lost, cut.lost) == (2, 1)
    assert asked.n == missing.n + 2, "numbers leave room for what is missing"
    assert asked.redacted == ("mcpsnoop",)
    assert answered.re == asked.n
    assert answered.message is not None
    assert b"<b>sun</b>" in bytes(answered.message)
    assert found.left_out == {"lines of the server's standard error": 1, "lines that are no JSON-RPC": 1}


def test_http() -> None:
    """Ids are unique within a connection only; a 401 and a 502 without a message are refusals."""
    with open_foreign(FOREIGN / "mcpsnoop_http.jsonl") as found:
        call, listing, listed, called, unauthorized, broken = list(found)
    assert (listed.re, called.re) == (listing.n, call.n)
    assert _fields(call) == {"mcp-method": "tools/call", "mcp-name": "search", "mcp-protocol-version": "2026-07-28", "mcp-param-region": "eu"}
    assert (unauthorized.kind, unauthorized.http and unauthorized.http.status) == ("refusal", 401)
    assert _fields(unauthorized)["www-authenticate"].startswith("Bearer resource_metadata=")
    assert (broken.kind, broken.text) == ("refusal", "Bad Gateway")
    assert found.left_out == {"answers without a body": 1}


def test_a_torn_last_line_is_told(tmp_path: Path) -> None:
    whole = (FOREIGN / "mcpsnoop_stdio.jsonl").read_bytes()
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(whole[:-20])
    with open_foreign(torn) as found:
        assert [frame.kind for frame in found].count("gap") == 1
    assert found.left_out["a torn last line"] == 1


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    lines = (FOREIGN / "mcpsnoop_stdio.jsonl").read_bytes().splitlines(keepends=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"".join([*lines[:3], b"{nonsense\n", *lines[3:]]))
    with pytest.raises(Unreadable, match="line 4") as caught, open_foreign(broken) as found:
        list(found)
    assert str(broken) in str(caught.value)


def _fields(frame: Frame) -> dict[str, str]:
    assert frame.http is not None
    return dict(frame.http.headers)
