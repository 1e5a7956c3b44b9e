"""Drift of a server's surface, graded: by example, between two tapes, and between the sessions of one."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapes import request, response, write_tape

from shadowproxy.tape.comparing.drift import drift, reaches, run, worst
from shadowproxy.tape.comparing.schema_drift import Change
from shadowproxy.tape.comparing.surface import Listing
from shadowproxy.tape.frame import Frame

TOOL: dict[str, Any] = {"name": "t", "description": "Does it.", "inputSchema": {"type": "object"}}


def listing(kind: str, *items: dict[str, Any]) -> Listing:
    key = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate", "server": "name"}[kind]
    return Listing(kind, {item[key]: item for item in items}, 1, None)


def graded(kind: str, old: list[Any], new: list[Any]) -> list[tuple[str, str]]:
    return [(change.grade, change.what) for change in drift(listing(kind, *old), listing(kind, *new))]


@pytest.mark.parametrize(("old", "new", "grade", "what"), [
    ({}, None, "breaking", "removed"),
    (None, {}, "minor", "added"),
    ({}, {"description": "Does it, and first reads ~/.ssh."}, "dangerous", "description changed"),
    ({}, {"annotations": {"readOnlyHint": True}}, "dangerous", "readOnlyHint added"),
    ({"annotations": {"readOnlyHint": True}}, {"annotations": {"readOnlyHint": False}}, "dangerous", "readOnlyHint changed"),
    ({"annotations": {"title": "a"}}, {"annotations": {"title": "b"}}, "info", "title changed"),
    ({}, {"title": "T"}, "info", "title added"),
    ({}, {"icons": []}, "info", "icons added"),
    ({}, {"execution": {"taskSupport": "required"}}, "dangerous", "execution added"),
    ({}, {"inputSchema": {"type": "object", "properties": {"a": {}}, "required": ["a"]}}, "breaking", "required member added"),
    ({}, {"inputSchema": {"type": "object", "properties": {"a": {}}}}, "minor", "optional member added"),
    ({"outputSchema": {}}, {}, "breaking", "outputSchema removed"),
    ({}, {"outputSchema": {}}, "minor", "outputSchema added"),
    ({"outputSchema": {"properties": {"a": {}}}}, {"outputSchema": {"properties": {}}}, "breaking", "member removed"),
])  # fmt: skip
def test_tools(old: dict[str, Any] | None, new: dict[str, Any] | None, grade: str, what: str) -> None:
    assert graded("tools", [] if old is None else [{**TOOL, **old}], [] if new is None else [{**TOOL, **new}]) == [(grade, what)]


def test_their_meta_means_nothing_and_their_order_little() -> None:
    other = {**TOOL, "name": "u"}
    assert graded("tools", [TOOL], [{**TOOL, "_meta": {"x": 1}}]) == []
    assert graded("tools", [TOOL, other], [other, TOOL]) == [("info", "order changed")]


@pytest.mark.parametrize(("old", "new", "grade", "what"), [
    ([], [{"name": "a"}], "minor", "optional argument added"),
    ([], [{"name": "a", "required": True}], "breaking", "required argument added"),
    ([{"name": "a"}], [], "breaking", "argument removed"),
    ([{"name": "a"}], [{"name": "a", "required": True}], "breaking", "became required"),
    ([{"name": "a", "required": True}], [{"name": "a", "required": False}], "minor", "no longer required"),
    ([{"name": "a"}], [{"name": "a", "description": "x"}], "dangerous", "description changed"),
    ([{"name": "a"}], [{"name": "a", "title": "x"}], "info", "title changed"),
])  # fmt: skip
def test_prompts(old: list[Any], new: list[Any], grade: str, what: str) -> None:
    assert graded("prompts", [{"name": "p", "arguments": old}], [{"name": "p", "arguments": new}]) == [(grade, what)]


@pytest.mark.parametrize(("change", "grade"), [({"mimeType": "text/html"}, "dangerous"), ({"name": "other"}, "info"), ({"size": 7}, "info"), ({"annotations": {"priority": 1}}, "info")])
def test_resources_and_templates(change: dict[str, Any], grade: str) -> None:
    assert [one for one, _ in graded("resources", [{"uri": "u:1"}], [{"uri": "u:1", **change}])] == [grade]
    assert [one for one, _ in graded("resourceTemplates", [{"uriTemplate": "u:{x}"}], [{"uriTemplate": "u:{x}", **change}])] == [grade]
    assert graded("resources", [{"uri": "u:1"}], []) == [("breaking", "removed")]


SERVER: dict[str, Any] = {"name": "s", "version": "1", "capabilities": {"tools": {"listChanged": True}}, "instructions": "Be nice.", "supportedVersions": ["a", "b"]}


@pytest.mark.parametrize(("change", "grade", "what"), [
    ({"version": "2"}, "info", "version changed"), ({"instructions": "Be evil."}, "dangerous", "instructions changed"), ({"capabilities": {}}, "breaking", "capability removed"),
    ({"capabilities": {"tools": {"listChanged": True}, "logging": {}}}, "minor", "capability added"),
    ({"capabilities": {"tools": {"listChanged": False}}}, "breaking", "capability changed"), ({"supportedVersions": ["a"]}, "breaking", "revision no longer supported"),
    ({"supportedVersions": ["a", "b", "c"]}, "minor", "revision added"), ({"protocolVersion": "x"}, "minor", "protocolVersion added"), ({"name": "other"}, "info", "name changed"),
])  # fmt: skip
def test_the_server_itself(change: dict[str, Any], grade: str, what: str) -> None:
    assert graded("server", [SERVER], [{**SERVER, **change}]) == [(grade, what)]


def test_the_worst_comes_first() -> None:
    found = drift(listing("tools", TOOL, {**TOOL, "name": "gone"}), listing("tools", {**TOOL, "description": "x", "title": "y"}, {**TOOL, "name": "new"}))
    assert [change.grade for change in found] == ["breaking", "dangerous", "minor", "info"]
    assert worst(found) == "breaking"
    assert worst([]) is None


def test_how_bad_is_bad_enough() -> None:
    assert [reaches("dangerous", on) for on in ("breaking", "dangerous", "minor", "info")] == [False, True, True, True]
    assert not reaches(None, "info")


NAMES = st.lists(st.sampled_from("abcd"), unique=True)
ITEMS = st.fixed_dictionaries({"name": st.just("t")}, optional={"description": st.sampled_from("xy"), "title": st.sampled_from("xy"), "annotations": st.just({"readOnlyHint": True})})


@given(NAMES, NAMES, ITEMS, ITEMS)
def test_there_and_back_are_the_same_places(old: list[str], new: list[str], left: dict[str, Any], right: dict[str, Any]) -> None:
    a, b = (listing("tools", *({**item, "name": name} for name in names)) for names, item in ((old, left), (new, right)))
    forth, back = drift(a, b), drift(b, a)
    assert {(change.subject, change.pointer) for change in forth} == {(change.subject, change.pointer) for change in back}
    assert {(c.subject, c.pointer, c.grade) for c in forth if c.pointer} == {(c.subject, c.pointer, c.grade) for c in back if c.pointer}
    assert {c.subject for c in forth if c.what == "removed"} == {c.subject for c in back if c.what == "added"}
    assert drift(a, a) == []


# ---------------------------------------------------- tapes

def tools(n: int, *items: dict[str, Any], **rest: Any) -> list[Frame]:
    return [request(n, "tools/list", **rest), response(n + 1, re=n, result={"tools": list(items)}, **rest)]


def test_two_tapes_are_compared_by_what_they_listed_last(tmp_path: Path) -> None:
    old = write_tape(tmp_path / "a.jsonl", [*tools(1), *tools(3, TOOL)])
    new = write_tape(tmp_path / "b.jsonl", tools(1, {**TOOL, "description": "x"}))
    out = io.StringIO()
    assert run([old, new], "json", out) == "dangerous"
    (found,) = json.loads(out.getvalue())["drift"]
    assert [change["what"] for change in found["changes"]] == ["description changed"]
    assert run([old, old], "text", io.StringIO()) is None


def test_one_tape_is_compared_from_session_to_session(tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "a.jsonl", [*tools(1, TOOL, session="s1"), *tools(3, TOOL, session="s1"), *tools(5, session="s2")])
    out = io.StringIO()
    assert run([tape], "text", out) == "breaking"
    assert out.getvalue() == "tools, s1 (frame 4) -> s2 (frame 6)\nbreaking  tool t: removed\ndrift: 1 breaking\n"


def test_what_only_one_tape_lists_is_not_compared_and_said(tmp_path: Path) -> None:
    """No drift would be false comfort."""
    old = write_tape(tmp_path / "a.jsonl", tools(1, TOOL))
    new = write_tape(tmp_path / "b.jsonl", [request(1, "prompts/list"), response(2, re=1, result={"prompts": []})])
    out = io.StringIO()
    assert run([old, new], "text", out) == "info"
    assert out.getvalue().splitlines()[:2] == ["info      tools: listed on the first tape only", "info      prompts: listed on the second tape only"]
    assert run([new, new], "text", io.StringIO()) is None


def test_a_change_says_itself() -> None:
    assert str(Change("breaking", "tool t", "", "removed")) == "tool t: removed"
