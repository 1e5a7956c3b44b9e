"""The index of a tape: sequences, what waits for what, sessions of both eras; and how little it holds."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from dialogue import META
from replays import asked, handshake, opened, tool
from tapes import happening, notification, request, response, write_tape

from shadowproxy.tape.frame import Frame
from shadowproxy.tape.matching.match import Matching
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.columns import Columns
from shadowproxy.tape.replaying.index import read_index


def index_of(folder: Path, frames: Sequence[Frame]) -> Columns:
    with Reading(write_tape(folder / "tape.jsonl", frames)) as reading:
        return read_index(reading, Matching())


def sequence(columns: Columns, place: int) -> list[int]:
    """The places that follow. (In these tapes a frame's place is its number.)"""
    found = []
    while place := columns.after[place]:
        found.append(place)
    return found


def test_interleaved_exchanges_are_told_apart(tmp_path: Path) -> None:
    columns = index_of(tmp_path, [
        request(1, "a", id=1, session="s1"), request(2, "b", id=2, session="s1"), notification(3, "n", exchange=1, stream="x1", session="s1"),
        response(4, 2, id=2, session="s1"), response(5, 1, id=1, session="s1", stream="x1"),
    ])  # fmt: skip
    assert (sequence(columns, 1), sequence(columns, 2)) == ([3, 5], [4])


def test_equal_numbers_of_two_sessions_do_not_meet(tmp_path: Path) -> None:
    frames = [request(1, "a", id=1, session="s1"), request(2, "a", id=1, session="s2", exchange=1)]
    frames += [response(3, 1, id=1, session="s2", exchange=1), response(4, 1, id=1, session="s1", exchange=1)]
    columns = index_of(tmp_path, frames)
    assert (sequence(columns, 1), sequence(columns, 2)) == ([4], [3])
    assert [one.name for one in columns.sessions] == ["s1", "s2"]


def test_the_client_s_answer_is_part_of_the_exchange_that_asked(tmp_path: Path) -> None:
    """Known by `re`; a tape without it, by the id."""
    for re in (2, None):
        columns = index_of(tmp_path, [
            request(1, "a", id=1, session="s1"), request(2, "q", id=9, dir="s2c", exchange=1, session="s1", stream="x1"),
            msgspec.structs.replace(response(3, 2, id=9, dir="c2s", exchange=None, session="s1"), re=re), response(4, 1, id=1, session="s1", stream="x1"),
        ])  # fmt: skip
        assert sequence(columns, 1) == [2, 3, 4]
        assert (columns.answers, columns.cause[3]) == ({2: 3}, 2)


def test_a_standing_stream_s_frames_wait_for_what_came_before_them(tmp_path: Path) -> None:
    columns = index_of(tmp_path, [
        *handshake(), opened(4), notification(5, "n", exchange=4, stream="g4", session="s1"), *tool(6, {}, {}),
        notification(8, "n", exchange=4, stream="g4", session="s1"), notification(9, "n", exchange=4, stream="g4", session="s1"),
    ])  # fmt: skip
    assert sequence(columns, 4) == [5, 8, 9]
    assert [columns.cause[place] for place in (5, 8, 9)] == [0, 7, 0]
    assert [place for place, awaited in enumerate(columns.awaited) if awaited] == [7]


def test_eras_and_sessions(tmp_path: Path) -> None:
    columns = index_of(tmp_path, [*handshake(), *asked(4, "a", {"_meta": META}, {}, None), *asked(6, "b", {}, {}, None)])
    assert [(one.name, one.modern, [columns.method_of(request) for request in one.requests]) for one in columns.sessions] == [
        ("s1", False, ["initialize"]), (None, True, ["a"]), (None, False, ["b"])]  # fmt: skip
    assert columns.modern is columns.sessions[1]
    assert columns.sessions[0].only_greets
    assert columns.sessions[0].notes.keys() == {"notifications/initialized"}


def test_what_is_left_out(tmp_path: Path) -> None:
    """The leg towards the server, what was learned, gaps (which are counted), a client that left while its exchange went on."""
    columns = index_of(tmp_path, [
        request(1, "a", id=1, session="s1", leg="client"), request(2, "a", id=1, session="s1", exchange=1, leg="server"), happening(3, "about"),
        happening(4, "gap", lost=7), happening(5, "close", dir="c2s", exchange=1, stream="x1", session="s1", error="client_left"),
        response(6, 1, id=1, session="s1", leg="server"), response(7, 1, id=1, session="s1", leg="client"),
    ])  # fmt: skip
    assert (columns.requests, columns.gaps, len(sequence(columns, 1))) == (1, 7, 1)
    assert (columns.last_frame, columns.last_exchange) == (7, 1)


def test_a_torn_end_and_strange_frames_are_survived(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "t.jsonl", [
        response(1, 99, id=1, session="s1"), notification(2, "n", exchange=50, stream="g50"), response(3, 77, id=5, dir="c2s", exchange=None), *tool(4, {}, {}),
        Frame(n=6, t=0.0, dir="c2s", kind="request"),
    ])  # fmt: skip
    path.write_bytes(path.read_bytes() + b'{"n":7,"t":')
    with Reading(path) as reading:
        columns = read_index(reading, Matching())
    assert columns.requests == 2


def test_it_holds_numbers_not_frames(tmp_path: Path) -> None:
    """A thousand frames of 10 kB: some dozen bytes each."""
    frames: list[Frame] = []
    for n in range(1, 1000, 2):
        frames += tool(n, {"n": n}, {"text": "x" * 10_000})
    columns = index_of(tmp_path, frames)
    arrays = (columns.offset, columns.after, columns.cause, columns.place, columns.digest, columns.method)
    assert sum(len(one) * one.itemsize for one in arrays) + len(columns.awaited) + len(columns.loose) < 40 * 1000
    assert sequence(columns, 1) == [2]


def test_a_notification_of_the_modern_era_makes_no_legacy_session(tmp_path: Path) -> None:
    """On stdio nothing in it tells its era; a legacy client would be greeted from it by nobody."""
    columns = index_of(tmp_path, [*asked(1, "a", {"_meta": META}, {}, None), notification(3, "notifications/cancelled", {"requestId": 1}, dir="c2s")])
    assert columns.legacy == []
    assert columns.modern is not None
    assert list(columns.modern.notes["notifications/cancelled"]) == [3]


def test_what_came_on_a_standing_stream_is_in_groups_by_its_causes(tmp_path: Path) -> None:
    columns = index_of(tmp_path, [
        *handshake(), opened(4), notification(5, "n", exchange=4, stream="g4", session="s1"), *tool(6, {}, {}),
        notification(8, "n", exchange=4, stream="g4", session="s1"), notification(9, "n", exchange=4, stream="g4", session="s1"), *asked(10, "ping", None, {}),
        notification(12, "n", exchange=4, stream="g4", session="s1"), *tool(13, {}, {}), notification(15, "n", exchange=4, stream="g4", session="s1"),
    ])  # fmt: skip
    assert (list(columns.groups[4].causes), list(columns.groups[4].firsts)) == ([7, 14], [8, 15])
    assert [columns.groups[4].first(cause) for cause in (3, 7, 11, 14, 99)] == [0, 8, 0, 15, 0]
