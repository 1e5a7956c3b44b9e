"""A tape at a glance: its beginning and its end, whatever lies between."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conversations import conversation
from tapes import HEADER, ORIGIN, notification, raw, request, tape_bytes, write_tape

from shadowproxy.tape.exchanging.writer import write_tape as write_whole
from shadowproxy.tape.viewing import listing
from shadowproxy.tape.viewing.listing import glance, tapes_in


def test_what_is_seen_of_one(tmp_path: Path) -> None:
    found = glance(write_tape(tmp_path / "a.jsonl", conversation()))
    assert (found.frames, found.counted, found.seconds, found.origin, found.torn) == (28, True, 61.0, ORIGIN, False)
    assert (found.era, found.server, found.upstream) == ("legacy", "host 2", "https://server.example/mcp")


def test_the_header_knows_best(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, era="modern", server=raw({"name": "told"}), session="s7")
    found = glance(write_tape(tmp_path / "a.jsonl", conversation(), header))
    assert (found.era, found.server, found.session) == ("modern", "told", "s7")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
@pytest.mark.parametrize("frames", [0, 1, listing.BEGINNING - 1, listing.BEGINNING, listing.BEGINNING + 1, 500])
def test_the_last_frame_counts(frames: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_whole(path, HEADER, (notification(n, "notifications/x") for n in range(1, frames + 1)))
    found = glance(path)
    assert (found.frames, round(found.seconds * 10)) == (frames, frames)


@pytest.mark.parametrize("frames", [3, 300])
def test_a_torn_end_is_told(frames: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(tape_bytes([notification(n, "notifications/x") for n in range(1, frames + 1)])[:-10])
    found = glance(path)
    assert (found.frames, found.torn) == (frames - 1, True)


def test_a_large_last_frame_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "END", 1000)
    frames = [notification(n, "notifications/x") for n in range(1, 100)]
    path = write_tape(tmp_path / "a.jsonl", [*frames, request(100, "tools/call", {"text": "x" * 30_000})])
    assert glance(path).frames == 100


def test_only_the_ends_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large tape: a line in the middle that is no frame is not even looked at."""
    monkeypatch.setattr(listing, "END", 1000)
    monkeypatch.setattr(listing, "COUNTED", 1000)
    frames = [notification(n, "notifications/x") for n in range(1, 1000)]
    path = tmp_path / "a.jsonl"
    path.write_bytes(tape_bytes(frames[:500]) + b"nonsense\n" + tape_bytes(frames[500:]).split(b"\n", 1)[1])
    found = glance(path)
    assert (found.frames, found.counted) == (999, False)


def test_tapes_in_a_directory(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.zst", ".a.jsonl.x.part", "notes.txt", ".hidden.jsonl"):
        (tmp_path / name).touch()
    assert [path.name for path in tapes_in(tmp_path)] == ["a.jsonl.zst", "b.jsonl"]
