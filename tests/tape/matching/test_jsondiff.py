"""Differences of JSON values: found where they are, ignored where they do not count, and equal values have equal canonical bytes."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.matching.jsondiff import (
    VOLATILE,
    BadPointer,
    Difference,
    Ignoring,
    canonical,
    differences,
    format_pointer,
    parse_pointer,
    short,
)

NOTHING = Ignoring()
TOKEN = "[REDACTED:bearer:0123456789abcdef]"
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.text("ab/~*", max_size=3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~*", max_size=2), inner, max_size=4), max_leaves=20)

OBJECTS = st.recursive(SCALARS, lambda inner: st.dictionaries(st.text("ab/~*", max_size=2), inner, max_size=4), max_leaves=20)


def told(old: Any, new: Any, ignoring: Ignoring = NOTHING, method: str | None = None) -> list[str]:
    return [str(difference) for difference in differences(old, new, ignoring, method)]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ({"a": 1}, {"a": 2}, ["/a: 1 -> 2"]),
    ({"a": 1}, {}, ["/a: missing, was 1"]),
    ({}, {"a/b~c": 1}, ["/a~1b~0c: extra, 1"]),
    ({"a": {"b": [1, 2, 3]}}, {"a": {"b": [1, 9, 3]}}, ["/a/b/1: 2 -> 9"]),
    ([1, 2, 3], [1, 7, 2, 3], ["/1: extra, 7"]),
    ([1, 7, 2, 3], [1, 2, 3], ["/1: missing, was 7"]),
    ({"a": []}, {"a": {}}, ["/a: [] -> {}"]),
    ({"a": None}, {"a": 0}, ["/a: null -> 0"]),
    ({"a": 1}, {"a": True}, ["/a: 1 -> true"]),
    ({"a": 1}, {"a": 1.0}, []),
    (1, "1", ['/: 1 -> "1"']),
])  # fmt: skip
def test_where_and_what(old: Any, new: Any, expected: list[str]) -> None:
    assert told(old, new) == expected


def test_there_is_a_bound_and_long_values_are_shortened() -> None:
    assert len(differences(list(range(500)), list(range(1000, 1500)), limit=7)) == 7
    assert len(short("x" * 10_000)) < 130


def test_what_cannot_be_seen_is_shown() -> None:
    assert short("a\u200bb\x1b[31m\n") == '"a\\u200bb\\u001b[31m\\n"'


def test_a_nesting_bomb_is_compared_as_a_whole() -> None:
    bomb: Any = 1
    for _ in range(5000):
        bomb = [bomb]
    with pytest.raises(RecursionError):
        json.dumps(bomb)
    assert differences([bomb], {"a": bomb}, NOTHING) != []


@pytest.mark.parametrize(("pointer", "method", "counts"), [
    ("/a/b/0", None, False), ("/a/*/0", None, False), ("/**/0", None, False), ("/a", None, False), ("/**/b", None, False), ("", None, True), ("/b", None, True),
    ("/a/b/1", None, True), ("tools/call:/a", "tools/call", False), ("tools/call:/a", "tools/list", True), ("tools/call:/a", None, True), ("tools/call", "tools/call", False),
])  # fmt: skip
def test_what_is_ignored(pointer: str, method: str | None, counts: bool) -> None:
    ignoring = NOTHING if pointer == "" else Ignoring.parse([pointer])
    old, new = {"a": {"b": [1]}}, {"a": {"b": [2]}}
    assert bool(told(old, new, ignoring, method)) is counts
    assert (canonical(old, ignoring, method) != canonical(new, ignoring, method)) is counts


def test_an_opaque_value_must_be_there_and_may_be_anything() -> None:
    ignoring = Ignoring.parse(opaque=["/cursor"])
    assert told({"cursor": "a"}, {"cursor": "b"}, ignoring) == []
    assert told({"cursor": "a"}, {}, ignoring) == ['/cursor: missing, was "a"']
    assert canonical({"cursor": "a"}, ignoring) == canonical({"cursor": "b"}, ignoring) != canonical({}, ignoring)


@pytest.mark.parametrize("text", ["result/x", "result", ":/x", "$.result"])
def test_no_pointer_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(BadPointer, match="begins with a slash"):
        Ignoring.parse([text if ":" in text else text.replace("/", "")])


@pytest.mark.parametrize(("old", "new", "alike"), [
    (TOKEN, "sk-123", True), (f"Bearer {TOKEN}", "Bearer sk-123", True), (f"Bearer {TOKEN}", "Basic sk-123", False), ("sk-123", TOKEN, True),
    (f"a {TOKEN} b {TOKEN}", "a 1 b 2", True), (TOKEN, TOKEN.replace("0", "f"), True), (TOKEN, 7, False), ("[REDACTED:x", "y", False),
])  # fmt: skip
def test_a_redacted_value_stands_for_anything(old: str, new: Any, alike: bool) -> None:
    assert (told({"a": old}, {"a": new}, Ignoring(wild=True)) == []) is alike
    assert told({"a": old}, {"a": new}, Ignoring(wild=False)) != [] or old == new


def test_what_is_volatile_of_every_message() -> None:
    old = {"jsonrpc": "2.0", "id": 1, "result": {"nextCursor": "a", "_meta": {"x": 1}, "tools": [{"name": "t", "_meta": 1}], "capabilities": {"tools": {"listChanged": True}}}}
    new = {"id": "x", "result": {"nextCursor": "b", "tools": [{"name": "t"}], "capabilities": {"tools": {}}}}
    assert told(old, new, VOLATILE) == []
    assert told({"result": {"timestamp": 1}}, {"result": {"timestamp": 2}}, VOLATILE) != []
    assert told({"result": {"timestamp": 1}}, {"result": {"timestamp": 2}}, VOLATILE.and_also(["/**/timestamp"])) == []


@given(VALUES)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert differences(value, json.loads(json.dumps(value)), NOTHING) == []


@given(VALUES, VALUES)
def test_canonical_bytes_are_equal_exactly_where_nothing_differs(old: Any, new: Any) -> None:
    assert (canonical(old, NOTHING) == canonical(new, NOTHING)) is (differences(old, new, NOTHING) == [])


@given(VALUES, VALUES)
def test_both_ways_differ_at_once(old: Any, new: Any) -> None:
    assert bool(differences(old, new, NOTHING)) is bool(differences(new, old, NOTHING))


@given(OBJECTS, OBJECTS)
def test_ignoring_every_difference_leaves_none(old: Any, new: Any) -> None:
    pointers = [difference.pointer for difference in differences(old, new, NOTHING, limit=1000)]
    if "" not in pointers and not any("*" in pointer for pointer in pointers):
        assert differences(old, new, Ignoring.parse(pointers)) == []


@given(st.lists(st.text(max_size=4), max_size=4))
def test_pointers_are_read_as_they_are_written(path: list[str]) -> None:
    assert parse_pointer(format_pointer(path)) == tuple(path)


def test_as_json() -> None:
    assert Difference("/a", 1, None).as_json() == {"pointer": "/a", "kind": "changed", "old": 1, "new": None}
    assert Difference("/a", new=1).as_json() == {"pointer": "/a", "kind": "extra", "new": 1}
