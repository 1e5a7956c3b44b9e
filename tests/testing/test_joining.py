"""Recordings joined: in the order of their time, numbered anew, with what points at what."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tapes import HEADER, happening, request, response, write_tape

from shadowproxy.tape.frame import Frame, Unreadable
from shadowproxy.tape.reader import Reading
from shadowproxy.testing.joining import join


def read(path: Path) -> list[Frame]:
    with Reading(path) as reading:
        assert reading.header.session is None
        return list(reading)


def links(frames: list[Frame]) -> list[tuple[object, ...]]:
    return [(frame.n, frame.method or frame.kind, frame.session, frame.exchange, frame.stream, frame.re) for frame in frames]


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Two connections at once, the second begun a second later; each recorder counts from one."""
    later = msgspec.structs.replace(HEADER, origin=HEADER.origin + 1, session="s1")
    one = [request(1, "initialize", id=1, session="s1", t=0.0), happening(2, "open", dir="c2s", exchange=7, stream="g7", session="s1", t=1.5),
           response(3, 1, id=1, session="s1", t=2.5)]  # fmt: skip
    other = [request(1, "initialize", id=1, session="s1", t=0.0), response(2, 1, id=1, stream="x1", session="s1", t=1.0), request(3, "ping", session="s1", t=1.2)]
    return [write_tape(tmp_path / "a.jsonl", one), write_tape(tmp_path / "b.jsonl", other, later)]


def test_recordings_are_put_in_order(tmp_path: Path, recordings: list[Path]) -> None:
    join(tmp_path / "new" / "joined.jsonl", recordings[::-1])
    frames = read(tmp_path / "new" / "joined.jsonl")
    assert links(frames) == [
        (1, "initialize", "s1", 1, None, None),
        (2, "initialize", "s2", 2, None, None),
        (3, "open", "s1", 3, "g3", None),
        (4, "response", "s2", 2, "x2", 2),
        (5, "ping", "s2", 4, None, None),
        (6, "response", "s1", 1, None, 1),
    ]
    assert [frame.t for frame in frames] == [0.0, 1.0, 1.5, 2.0, 2.2, 2.5]


def test_a_tape_that_is_added_to_stays_first(tmp_path: Path, recordings: list[Path]) -> None:
    target = tmp_path / "a.jsonl"
    join(target, recordings[1:], onto=target)
    assert [(frame.n, frame.session, frame.re) for frame in read(target)] == [(1, "s1", None), (2, "s1", None), (3, "s1", 1), (4, "s2", None), (5, "s2", 4), (6, "s2", None)]


def test_an_error_leaves_what_was_there(tmp_path: Path, recordings: list[Path]) -> None:
    before = recordings[0].read_bytes()
    recordings[1].write_bytes(b"no tape\n")
    with pytest.raises(Unreadable):
        join(recordings[0], recordings[1:], onto=recordings[0])
    assert recordings[0].read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]
