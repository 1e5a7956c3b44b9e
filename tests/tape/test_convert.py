"""The chain of converters: every version there ever was is read, step by step, and the fixtures prove it."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shadowproxy.tape.convert import STEPS, converter, version_of
from shadowproxy.tape.frame import VERSION, Unreadable, decode_frame, decode_header
from shadowproxy.tape.reader import Reading

VERSIONS = Path(__file__).parent / "versions"


def test_there_is_a_fixture_for_every_version_and_a_step_between_each_two() -> None:
    assert sorted(path.name for path in VERSIONS.iterdir()) == [f"v{number}.jsonl" for number in range(1, VERSION + 1)]
    assert sorted(STEPS) == list(range(1, VERSION))


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_tape_of_every_version_is_read(version: int) -> None:
    with Reading(VERSIONS / f"v{version}.jsonl") as reading:
        frames = list(reading)
    assert (reading.header.tape, reading.header.tool, reading.header.upstream) == (VERSION, "shadowproxy 0.1.0", "https://server.example/mcp")
    assert not reading.torn
    kinds = Counter(frame.kind for frame in frames)
    assert set(kinds) == {"request", "response", "notification", "event", "open", "close", "refusal", "cancelled", "end", "about", "gap"}
    assert [frame.n for frame in frames if frame.text and frame.text.startswith("line ")] == []
    called = next(frame for frame in frames if frame.method == "tools/call")
    answer = next(frame for frame in frames if frame.re == called.n and frame.kind == "response")
    assert (answer.exchange, called.value()["params"]["name"], answer.value()["result"]["content"][0]["text"]) == (called.exchange, "add", "3")


# ---------------------------------------------------- a chain that is made up: 1 called `dir` "way"; 2 counted from 0; 3 is the newest
def to_2(line: dict[str, Any], is_header: bool) -> dict[str, Any]:
    if is_header:
        return {**line, "tape": 2}
    way = line.pop("way")
    return {**line, "dir": way}


def to_3(line: dict[str, Any], is_header: bool) -> dict[str, Any]:
    return {**line, "tape": 3} if is_header else {**line, "n": json.loads(bytes(line["n"])) + 1}


CHAIN = {1: to_2, 2: to_3}


def test_lines_go_through_every_step_from_where_they_are() -> None:
    line = b'{"n":0,"t":0.5,"way":"c2s","kind":"request","message":{"a" : 1.50, "a":12345678901234567890123}}'
    expected = b'{"n":1,"t":0.5,"kind":"request","message":{"a" : 1.50, "a":12345678901234567890123},"dir":"c2s"}'
    assert converter(1, 3, CHAIN)(line, False) == expected
    assert json.loads(converter(2, 3, CHAIN)(b'{"n":0,"dir":"s2c"}', False)) == {"n": 1, "dir": "s2c"}
    assert json.loads(converter(1, 3, CHAIN)(b'{"tape":1,"tool":"x"}', True)) == {"tape": 3, "tool": "x"}
    assert bytes(decode_frame(expected).message or b"") == b'{"a" : 1.50, "a":12345678901234567890123}'  # no step looked into it


def test_lines_of_the_newest_version_are_not_touched() -> None:
    line = b'{"n" : 1}  '
    assert converter(3, 3, CHAIN)(line, False) is line


@pytest.mark.parametrize("line", [b"", b"{", b"7", b"null", b"[]", b"{}", b'{"n":0}', b'{"n":"x","way":"c2s"}', b'{"way":"\xff","n":1}', b"[" * 100_000])
def test_a_line_that_a_step_can_make_nothing_of(line: bytes) -> None:
    with pytest.raises(Unreadable, match="version 1"):
        converter(1, 3, CHAIN)(line, False)


def test_versions_that_no_chain_leads_from() -> None:
    with pytest.raises(Unreadable, match="version 4, made by a newer shadowproxy; this one reads up to 3"):
        converter(4, 3, CHAIN)
    with pytest.raises(Unreadable, match="no converter leads from version 1 to 3"):
        converter(1, 3, {2: to_3})


@pytest.mark.parametrize(("line", "version"), [(b'{"tape":1,"tool":"x"}', 1), (b'{"x":[],"tape":7}\n', 7)])
def test_the_version_of_a_header(line: bytes, version: int) -> None:
    assert version_of(line) == version


@pytest.mark.parametrize("line", [b"\n", b"{}", b"[]", b"7", b'"tape"', b"null", b"\xff\xfe", b'{"tape":0}', b'{"tape":true}', b'{"tape":"1"}', b'{"tape":1.5}',
                                  b'{"tape":null}', b'{"tape":-1}', b'{"n":1}', b"[" * 100_000, b"PK\x03\x04"])  # fmt: skip
def test_what_is_no_tape_says_so(line: bytes) -> None:
    with pytest.raises(Unreadable, match="not a tape"):
        version_of(line)


@pytest.mark.parametrize(("line", "said"), [
    (b"", "nothing in it"), (b"\x1f\x8b\x08\x00\xff\n", "gunzip"), (b"\x28\xb5\x2f\xfd\xff\n", "must end in .zst"), (b'{"tape":1,"tool":"shadow', "cut short"),
])  # fmt: skip
def test_what_users_have_instead_is_told_by_its_name(line: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        version_of(line)


def test_a_fixture_is_a_tape_as_it_was_written() -> None:
    """It is never made anew: what was recorded once must be read for ever."""
    first = (VERSIONS / "v1.jsonl").read_bytes().partition(b"\n")[0]
    assert decode_header(first).tape == 1
