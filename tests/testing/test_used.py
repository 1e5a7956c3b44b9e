"""What a child process has used of a tape, by its own recording; and the words of a complaint."""
from __future__ import annotations

from pathlib import Path

import pytest
from replays import asked, handshake, tool
from tapes import happening, raw, request, response, write_tape

from shadowproxy.config import Replay
from shadowproxy.errors import TapeMiss
from shadowproxy.tape.replaying.replay import Held, Unused
from shadowproxy.testing.marks import Mark
from shadowproxy.testing.used import misses_in, never_answered, report, unused_by

TOKEN = "[REDACTED:key:0123456789abcdef]"


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "tape.jsonl", [*handshake(), *tool(4, {"name": "a"}, {}), *tool(6, {"name": "a"}, {}), *asked(8, "tools/list", None, {})])


def used(tape: Path, *recordings: list[object]) -> list[int]:
    """The numbers of the frames that these recordings left unused."""
    paths = [write_tape(tape.parent / f"child{number}.jsonl", frames) for number, frames in enumerate(recordings)]  # type: ignore[arg-type]  # lists of frames
    return [one.n for one in unused_by(paths, tape, Replay())]


def test_each_recorded_request_takes_one(tape: Path) -> None:
    assert used(tape) == [1, 4, 6, 8]
    assert used(tape, [*handshake(capabilities={"roots": {}}), *tool(9, {"name": "a"}, {})]) == [6, 8]
    assert used(tape, [*handshake()], [*tool(1, {"name": "a", "_meta": {"progressToken": 1}}, {}), *tool(3, {"name": "a"}, {})]) == [8]
    assert used(tape, [*handshake(), *tool(4, {"name": "b"}, {}), *tool(6, {"name": "a"}, {}), *tool(8, {"name": "a"}, {}), *asked(10, "tools/list", None, {})]) == []


def test_what_was_redacted_is_not_complained_of(tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "tape.jsonl", [*handshake(), *tool(4, {"name": "a", "arguments": {"key": TOKEN}}, {})])
    assert used(tape, [*handshake(), *tool(4, {"name": "a", "arguments": {"key": "secret"}}, {})]) == []


def test_misses_are_told_as_the_client_was(tmp_path: Path) -> None:
    frames = [request(1, "ping", id=1), response(2, 1, id=1, error={"code": TapeMiss.code, "message": "not there"}),
              request(3, "ping", id=2), response(4, 3, id=2, error={"code": -32601, "message": "another error"})]  # fmt: skip
    assert misses_in([write_tape(tmp_path / "child.jsonl", frames)]) == ["not there"]


def test_a_report_says_what_to_do() -> None:
    mark = Mark(path=Path("tapes/a.jsonl"))
    assert report(mark, [], []) == ""
    text = report(mark, [Unused(4, "tools/call", "s1")], ["this tools/call is not on the tape"], [Held(7, None, "s1", 6)])
    assert "1 request is not on a.jsonl:\n    this tools/call is not on the tape\n" in text
    assert "--tape-mode=new_episodes, in a test with the fixture recording_server\n" in text
    assert "1 recorded request of a.jsonl was not asked:\n    frame 4: tools/call\n" in text
    assert "has not happened:\n    frame 7: no message, after frame 6" in text
    assert "allow_unused=True" in text
    assert "allow_misses=True" in text
    both = report(Mark(path=mark.path, recorded_by="test_a.py::test_b[c d]"), [Unused(4, "a", None), Unused(6, "b", None)], ["x", "y"])
    assert "2 requests are not on a.jsonl" in both
    assert "2 recorded requests of a.jsonl were not asked" in both
    assert "pytest 'test_a.py::test_b[c d]' --tape-mode=rewrite\n" in both


def test_a_server_that_has_not_said_anything(tmp_path: Path) -> None:
    down = [request(1, "a", id=1), happening(2, "refusal", exchange=1, error="upstream_unreachable", message=raw({"error": {"code": 1001, "message": "not found"}}))]
    silent, well = write_tape(tmp_path / "silent.jsonl", down), write_tape(tmp_path / "well.jsonl", [*down, *asked(3, "b", {}, {})])
    assert never_answered([silent]) == "not found"
    assert never_answered([silent, well]) == ""
    assert never_answered([]) == ""
