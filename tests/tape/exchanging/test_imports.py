"""Which tool made a recording is seen from its beginning; what is none is refused with words that help. All of them make sound tapes."""
from __future__ import annotations

from pathlib import Path

import pytest

from shadowproxy.tape.exchanging.imports import open_foreign
from shadowproxy.tape.exchanging.writer import write_tape
from shadowproxy.tape.frame import Unreadable
from shadowproxy.tape.reader import Reading

FOREIGN = Path(__file__).parent / "foreign"
ALL = sorted(FOREIGN.iterdir())


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_sound_tape_comes_of_it(path: Path, tmp_path: Path) -> None:
    """Numbers rise, time does not run back, every response names its request, and the tape reads back as it was written."""
    with open_foreign(path) as found:
        frames = list(found)
        header = found.header
    assert frames
    assert [frame.n for frame in frames] == sorted({frame.n for frame in frames})
    assert [frame.t for frame in frames] == sorted(frame.t for frame in frames)
    asked = {frame.n: frame for frame in frames if frame.kind == "request"}
    for frame in frames:
        assert frame.wall == pytest.approx(header.origin + frame.t, abs=1e-5)
        if frame.kind == "response":
            assert frame.re is not None
            request = asked[frame.re]
            assert (request.dir != frame.dir, request.id is not None and bytes(request.id)) == (True, frame.id is not None and bytes(frame.id))
            assert request.exchange == frame.exchange or frame.dir == "c2s"
    assert write_tape(tmp_path / "tape.jsonl", header, frames) == len(frames)
    with Reading(tmp_path / "tape.jsonl") as tape:
        assert [(frame.n, frame.kind, frame.value()) for frame in tape] == [(frame.n, frame.kind, frame.value()) for frame in frames]


@pytest.mark.parametrize(("content", "said"), [
    (b"", "none of the recordings"),
    (b"hello\n", "none of the recordings"),
    (b"[1]\n", "none of the recordings"),
    (b'{"tape":1,"tool":"shadowproxy","origin":1}\n', "tape convert"),
    (b'{"some":"object"}\n', "none of the recordings"),
    (b'{\n  "format_version": 3\n}', "mcp-cassette"),
    (b'{"format_version":9,"recorded_at":"2026-09-15T10:00:05Z","messages":[]}', "format version 9"),
    (b'{"type":"header","cassetteVersion":3,"startedAt":"2026-08-16T00:00:00Z"}\n', "version 3"),
    (b'{"type":"header","cassetteVersion":2,"startedAt":"yesterday"}\n', "yesterday"),
    (b'{"session_id":"a","ts":"2026-07-04T10:00:00Z","direction":"sideways"}\n', "mcpsnoop"),
    (b"\xff\xfe{\n", "none of the recordings"),
])  # fmt: skip
def test_what_is_none_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=said) as caught, open_foreign(path):
        pass
    assert str(path) in str(caught.value)
