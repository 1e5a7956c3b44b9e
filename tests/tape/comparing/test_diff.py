"""The difference of two tapes, from files: none of a tape and itself; answers, missing and extra exchanges, drift; compressed and redacted tapes."""
from __future__ import annotations

import io
import json
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tapes import HEADER, happening, notification, request, response, tape_bytes, write_tape

from shadowproxy.tape.comparing.diff import Outcome, run
from shadowproxy.tape.frame import Frame, Header, Unreadable, encode_frames, encode_header
from shadowproxy.tape.matching.jsondiff import BadPointer

SECRET, OTHER = "[REDACTED:key:0123456789abcdef]", "[REDACTED:key:ffffffffffffffff]"


def call(n: int, name: str, result: Any, **rest: Any) -> list[Frame]:
    return [request(n, "tools/call", {"name": name}, id=n, **rest), response(n + 1, re=n, id=n, result=result, **rest)]


def diff(tmp_path: Path, a: Sequence[Frame], b: Sequence[Frame], headers: tuple[Header, Header] = (HEADER, HEADER), **options: Any) -> tuple[Outcome, dict[str, Any]]:
    out = io.StringIO()
    outcome = run(write_tape(tmp_path / "a.jsonl", a, headers[0]), write_tape(tmp_path / "b.jsonl", b, headers[1]), "json", out, **options)
    return outcome, json.loads(out.getvalue())


def test_answers_that_differ(tmp_path: Path) -> None:
    outcome, found = diff(tmp_path, [*call(1, "a", {"x": 1}), *call(3, "b", {"x": 1})], [*call(1, "b", {"x": 2}), *call(3, "a", {"x": 1})])
    (changed,) = found["findings"]
    assert (changed["verdict"], changed["label"], changed["n"], changed["other"]) == ("CHANGED", "tools/call b", 3, 1)
    assert changed["differences"] == [{"pointer": "/result/x", "kind": "changed", "old": 1, "new": 2}]
    assert (outcome.tally.counts["MATCH"], outcome.different, outcome.fails("any"), outcome.fails("none"), outcome.fails("info")) == (1, True, True, False, False)


def test_the_other_verdicts(tmp_path: Path) -> None:
    flipped = [request(1, "tools/call", {"name": "a"}), response(2, re=1, error={"code": -32602, "message": "no"})]
    unanswered = [request(1, "tools/call", {"name": "a"})]
    for b, verdict in ((flipped, "ERROR-SHAPE-CHANGED"), (unanswered, "MISSING"), ([], "MISSING")):
        assert [finding["verdict"] for finding in diff(tmp_path, call(1, "a", {}), b)[1]["findings"]] == [verdict]
    assert [finding["verdict"] for finding in diff(tmp_path, [], call(1, "a", {}))[1]["findings"]] == ["EXTRA"]


def test_a_request_in_other_words_and_a_notification_too(tmp_path: Path) -> None:
    a = [request(1, "tools/call", {"name": "a", "arguments": 1}), notification(2, "notifications/message", {"data": "x"}), request(3, "roots/list", {"q": 1}, dir="s2c")]
    b = [request(1, "tools/call", {"name": "a", "arguments": 2}), notification(2, "notifications/message", {"data": "y"}), request(3, "roots/list", {"q": 1}, dir="s2c")]
    _, found = diff(tmp_path, a, b)
    assert [(finding["what"], finding["label"], finding.get("reason"), finding["differences"][0]["pointer"]) for finding in found["findings"]] == [
        ("exchange", "tools/call a", "asked otherwise", "/params/arguments"), ("notification", "<- notifications/message", None, "/params/data")]  # fmt: skip
    assert found["counts"]["MATCH"] == 1


def test_drift_is_told_with_it(tmp_path: Path) -> None:
    tool = {"name": "t", "description": "Kind."}
    a, b = ([request(1, "tools/list"), response(2, re=1, result={"tools": [{**tool, "description": text}]})] for text in ("Kind.", "Evil."))
    outcome, found = diff(tmp_path, a, b)
    assert [change["grade"] for change in found["drift"]] == ["dangerous"]
    assert (outcome.grade, outcome.fails("dangerous"), outcome.fails("breaking")) == ("dangerous", True, False)


def test_redacted_values_are_compared_when_one_key_made_them(tmp_path: Path) -> None:
    def keyed(key: str | None) -> Header:
        return msgspec.structs.replace(HEADER, redaction="default", key=key)

    a, b = call(1, "a", {"x": SECRET}), call(1, "a", {"x": OTHER})
    assert diff(tmp_path, a, b, (keyed("k1"), keyed("k1")))[0].different
    assert not diff(tmp_path, a, b, (keyed("k1"), keyed("k2")))[0].different
    assert not diff(tmp_path, a, call(1, "a", {"x": "sk-1"}), (keyed("k1"), keyed(None)))[0].different


def test_what_is_ignored(tmp_path: Path) -> None:
    assert not diff(tmp_path, call(1, "a", {"x": 1}), call(1, "a", {"x": 2}), ignore=["/result/x"])[0].different
    with pytest.raises(BadPointer):
        diff(tmp_path, [], [], ignore=["x"])


def test_compressed_tapes_are_unpacked_first(tmp_path: Path) -> None:
    packed = tmp_path / "a.jsonl.zst"
    packed.write_bytes(zstandard.compress(tape_bytes([*call(1, "a", {"x": 1}), *call(3, "b", {"x": 1})])))
    plain = write_tape(tmp_path / "b.jsonl", [*call(1, "b", {"x": 2}), *call(3, "a", {"x": 3})])
    outcome = run(packed, plain, "text", io.StringIO())
    assert outcome.tally.counts["CHANGED"] == 2
    assert not run(packed, packed, "text", io.StringIO()).different


def test_no_tape_and_lost_frames(tmp_path: Path) -> None:
    good = write_tape(tmp_path / "a.jsonl", [happening(1, "gap", lost=3)])
    (tmp_path / "b.jsonl").write_text("hello\n")
    with pytest.raises(Unreadable):
        run(good, tmp_path / "b.jsonl", "text", io.StringIO())
    assert run(good, good, "text", io.StringIO()).tally.lost == 6


def test_progress_is_told(tmp_path: Path) -> None:
    frames = [notification(n, "a") for n in range(1, 2001)]
    told: list[tuple[int, int]] = []
    diff(tmp_path, frames, frames, progress=lambda done, total: told.append((done, total)))
    assert len(told) == 4
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_memory_does_not_grow_with_the_tape(tmp_path: Path) -> None:
    """Twenty times the exchanges, and the same memory but for a little: what is remembered of them is on disk."""
    peaks = []
    for size in (100, 1500):
        path = tmp_path / f"{size}.jsonl"
        with path.open("wb") as file:
            file.write(encode_header(HEADER))
            for n in range(1, 2 * size, 2):
                file.write(encode_frames(call(n, "a" * 100, {"n": n, "text": "x" * 1000})))
        tracemalloc.start()
        assert not run(path, path, "json", io.StringIO()).different
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


CALLS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "s1", "s2"]), st.none() | st.booleans() | st.text(max_size=3)), max_size=8)


@given(CALLS)
def test_a_tape_does_not_differ_from_itself(calls: list[tuple[str, str | None, Any]]) -> None:
    frames = [frame for n, (name, session, result) in enumerate(calls) for frame in call(2 * n + 1, name, {"x": result}, session=session)]
    with tempfile.TemporaryDirectory() as place:
        outcome, found = diff(Path(place), frames, frames)
    assert (outcome.different, found["findings"], outcome.tally.counts["MATCH"]) == (False, [], len(calls))


@given(CALLS, CALLS)
def test_there_and_back_are_as_many(a: list[tuple[str, str | None, Any]], b: list[tuple[str, str | None, Any]]) -> None:
    sides = [[frame for n, (name, session, result) in enumerate(calls) for frame in call(2 * n + 1, name, {"x": result}, session=session)] for calls in (a, b)]
    with tempfile.TemporaryDirectory() as place:
        forth, back = (diff(Path(place), order[0], order[1])[0].tally.counts for order in (sides, sides[::-1]))
    assert (forth["MATCH"], forth["CHANGED"], forth["MISSING"], forth["EXTRA"]) == (back["MATCH"], back["CHANGED"], back["EXTRA"], back["MISSING"])
