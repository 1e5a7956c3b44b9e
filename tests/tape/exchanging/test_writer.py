"""A tape is there when it is whole, or not at all; compressed as its name says; for its owner only."""
from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tapes import HEADER, request, response

from shadowproxy.tape.exchanging.writer import BATCH, BATCH_BYTES, batches, write_tape
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading

FRAMES = [request(1, "tools/call", {"name": "echo"}), response(2, re=1, result={"text": "grüß Gott </script>"})]


@pytest.mark.parametrize("name", ["tape.jsonl", "tape.jsonl.zst"])
def test_it_reads_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    frames = [*FRAMES, *(request(n, "ping", id=n) for n in range(3, 1000))]
    assert write_tape(path, HEADER, frames) == 999
    with Reading(path) as tape:
        assert tape.header == HEADER
        assert [(frame.n, bytes(frame.message or b"")) for frame in tape] == [(frame.n, bytes(frame.message or b"")) for frame in frames]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd") == name.endswith(".zst")


@pytest.mark.parametrize("name", ["tape.jsonl", "tape.jsonl.zst"])
def test_an_error_midway_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    def failing() -> Iterator[Frame]:
        yield from FRAMES
        raise OSError("the source is gone")

    path = tmp_path / name
    write_tape(path, HEADER, FRAMES)
    before = path.read_bytes()
    with pytest.raises(OSError, match="the source is gone"):
        write_tape(path, HEADER, failing())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing half made is left"


@pytest.mark.parametrize(("name", "said"), [("missing/tape.jsonl", "cannot be written: No such file"), (".", "it is a directory")])
def test_an_error_names_the_file_that_was_asked_for(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=said) as caught:
        write_tape(tmp_path / name, HEADER, FRAMES)
    assert caught.value.filename == str(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "tape.jsonl"
    write_tape(path, HEADER, FRAMES)
    with Reading(path) as tape:
        write_tape(path, tape.header, tape)
    with Reading(path) as tape:
        assert len(list(tape)) == 2


def test_large_messages_are_not_gathered() -> None:
    small, large = request(1, "x"), request(2, "x", {"text": "y" * BATCH_BYTES})
    assert list(batches([small, large, small])) == [[small, large], [small]]
    assert [len(batch) for batch in batches([small] * (2 * BATCH + 1))] == [BATCH, BATCH, 1]
    assert list(batches([])) == []
