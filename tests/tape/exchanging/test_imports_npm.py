"""Cassettes of npm's mcp-cassette: both versions, streams put back among what happened meanwhile."""
from __future__ import annotations

from pathlib import Path

from shadowproxy.tape.exchanging.imports import open_foreign

FOREIGN = Path(__file__).parent / "foreign"


def test_version_1_over_stdio() -> None:
    with open_foreign(FOREIGN / "npm_stdio.jsonl") as found:
        frames = list(found)
    assert (found.header.tool, found.header.upstream, found.header.era) == ("npm mcp-cassette@0.1.2", "node 'tiny server.mjs'", "legacy")
    assert [frame.kind for frame in frames] == ["request", "response", "notification", "request", "response", "request", "response"]
    assert [frame.exchange for frame in frames] == [1, 1, None, 2, 2, 3, 3]
    assert all(frame.http is None and frame.stream is None for frame in frames)
    assert frames[-1].is_error
    assert found.left_out == {"lines that are no JSON-RPC": 1}


def test_version_2_over_http() -> None:
    """A stream's messages stand where they came, among others; the client's answer to the server's request is linked to it."""
    with open_foreign(FOREIGN / "npm_http.jsonl") as found:
        frames = list(found)
    assert found.header.upstream == "https://tiny.example/mcp"
    told = [(round(frame.t * 1000), frame.kind, frame.method, frame.exchange, frame.stream) for frame in frames]
    assert told == [
        (1, "request", "initialize", 1, None), (9, "response", None, 1, None), (12, "open", None, 2, "g2"), (20, "request", "tools/call", 3, None),
        (25, "notification", "notifications/progress", 3, "x3"), (30, "request", "ping", 4, None), (31, "response", None, 4, None),
        (40, "request", "elicitation/create", 3, "x3"), (45, "response", None, None, None), (50, "notification", "notifications/tools/list_changed", 2, "g2"),
        (55, "notification", "notifications/message", 2, "g2"), (55, "close", None, 2, "g2"), (60, "response", None, 3, "x3"),
        (70, "request", "tools/nope", 5, None), (72, "response", None, 5, None),
    ]  # fmt: skip
    by_time = {round(frame.t * 1000): frame for frame in frames}
    assert by_time[45].re == by_time[40].n
    assert by_time[60].re == by_time[20].n
    assert by_time[25].http is not None
    assert dict(by_time[25].http.headers)["content-type"] == "text/event-stream"
    assert by_time[72].http is not None
    assert by_time[72].http.status == 404
    assert found.left_out == {"entries of the unknown type 'marker'": 1}


def test_a_torn_last_line_is_told_and_one_without_its_end_is_read(tmp_path: Path) -> None:
    whole = (FOREIGN / "npm_stdio.jsonl").read_bytes()
    path = tmp_path / "cassette.jsonl"
    for cut, frames, torn in ((1, 7, 0), (5, 6, 1)):
        path.write_bytes(whole[:-cut])
        with open_foreign(path) as found:
            assert len(list(found)) == frames
        assert found.left_out["a torn last line"] == torn
