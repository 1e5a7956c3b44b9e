"""Drift of schemas: what narrows breaks those who send, what widens breaks those who read, and words are dangerous."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.comparing.schema_drift import GRADES, Change, SchemaDrift

STRING, NUMBER = {"type": "string"}, {"type": "number"}


def obj(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({} if required is None else {"required": required})}


def drift(old: Any, new: Any, way: Any = "in") -> list[Change]:
    return list(SchemaDrift("tool t", old, new, way).changes(("inputSchema",)))


def graded(old: Any, new: Any, way: Any = "in") -> list[tuple[str, str]]:
    return [(change.grade, change.what) for change in drift(old, new, way)]


@pytest.mark.parametrize(("old", "new", "incoming", "outgoing", "what"), [
    ({"type": ["string", "null"]}, STRING, "breaking", "minor", "type narrowed"),
    (STRING, {"type": ["string", "null"]}, "minor", "breaking", "type widened"),
    (NUMBER, {"type": "integer"}, "breaking", "minor", "type narrowed"),
    ({}, STRING, "breaking", "minor", "type narrowed"),
    ({"enum": ["a", "b"]}, {"enum": ["a"]}, "breaking", "minor", "enum value removed"),
    ({"enum": ["a"]}, {"enum": ["a", "b"]}, "minor", "breaking", "enum value added"),
    (STRING, {**STRING, "enum": ["a"]}, "breaking", "minor", "restricted to certain values"),
    ({**STRING, "enum": ["a"]}, STRING, "minor", "breaking", "no longer restricted to certain values"),
    ({"minimum": 1}, {"minimum": 2}, "breaking", "minor", "minimum changed"),
    ({"minimum": 2}, {"minimum": 1}, "minor", "breaking", "minimum changed"),
    ({"maxLength": 9}, {"maxLength": 5}, "breaking", "minor", "maxLength changed"),
    ({}, {"maxLength": 5}, "breaking", "minor", "maxLength added"),
    ({"pattern": "a"}, {}, "minor", "breaking", "pattern removed"),
    ({"pattern": "a"}, {"pattern": "b"}, "breaking", "breaking", "pattern changed"),
    ({"uniqueItems": False}, {"uniqueItems": True}, "breaking", "minor", "uniqueItems changed"),
    ({"const": 1}, {"const": 2}, "breaking", "breaking", "const changed"),
    (obj(), obj(["a"], a=STRING), "breaking", "minor", "required member added"),
    (obj(), obj(a=STRING), "minor", "minor", "optional member added"),
    (obj(a=STRING), obj(), "breaking", "breaking", "member removed"),
    (obj(a=STRING), obj(["a"], a=STRING), "breaking", "minor", "became required"),
    (obj(["a"], a=STRING), obj(a=STRING), "minor", "breaking", "no longer required"),
    ({"additionalProperties": True}, {"additionalProperties": False}, "breaking", "minor", "additionalProperties restricted"),
    ({"additionalProperties": False}, {}, "minor", "breaking", "additionalProperties no longer restricted so"),
    ({"type": "array", "items": STRING}, {"type": "array"}, "minor", "breaking", "items no longer restricted so"),
    ({"anyOf": [STRING, NUMBER, {"type": "null"}]}, {"anyOf": [STRING, NUMBER]}, "breaking", "minor", "alternative removed"),
    ({"anyOf": [STRING]}, {"anyOf": [STRING, NUMBER]}, "minor", "breaking", "alternative added"),
    ({}, {"anyOf": [STRING]}, "breaking", "minor", "anyOf added"),
    ({**STRING, "description": "a"}, {**STRING, "description": "b"}, "dangerous", "dangerous", "description changed"),
    (STRING, {**STRING, "description": "b"}, "dangerous", "dangerous", "description added"),
    ({"default": 1}, {"default": 2}, "dangerous", "dangerous", "default changed"),
    ({"title": "a"}, {"title": "b"}, "info", "info", "title changed"),
    ({"x-mcp-header": "A"}, {"x-mcp-header": "B"}, "dangerous", "dangerous", "x-mcp-header changed"),
    ({"allOf": [STRING]}, {"allOf": [NUMBER]}, "dangerous", "dangerous", "allOf changed"),
    ("words", 7, "dangerous", "dangerous", "schema changed"),
])  # fmt: skip
def test_grades(old: Any, new: Any, incoming: str, outgoing: str, what: str) -> None:
    assert graded(old, new, "in") == [(incoming, what)]
    assert graded(old, new, "out") == [(outgoing, what)]


def test_where_it_is() -> None:
    (change,) = drift(obj(a=obj(b={"type": "array", "items": {**STRING, "description": "x"}})), obj(a=obj(b={"type": "array", "items": {**STRING, "description": "y"}})))
    assert change.pointer == "/inputSchema/properties/a/properties/b/items/description"
    assert str(change) == f'tool t {change.pointer}: description changed: "x" -> "y"'
    assert change.as_json() == {"grade": "dangerous", "subject": "tool t", "pointer": change.pointer, "what": "description changed", "old": "x", "new": "y"}


def test_references_are_followed_and_need_not_end() -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": obj(next={"$ref": "#/$defs/node"}, value=STRING)}}
    other = {"$ref": "#/$defs/node", "$defs": {"node": obj(next={"$ref": "#/$defs/node"}, value=NUMBER)}}
    assert drift(tree, tree) == []
    assert ("breaking", "type narrowed") in graded(tree, other)
    inlined = obj(value=STRING)
    assert graded({"$ref": "#/$defs/x", "$defs": {"x": inlined}}, inlined) == []
    assert graded({"$ref": "#/$defs/x", "$defs": {"x": STRING, "unused": NUMBER}}, {"$ref": "#/$defs/x", "$defs": {"x": STRING}}) == []
    assert graded({"$ref": "https://elsewhere"}, {"$ref": "https://elsewhere"}) == []
    assert graded({"$ref": "#/$defs/gone"}, STRING) != []


def test_true_and_false_are_schemas() -> None:
    assert drift(obj(a=True), obj(a={})) == []
    assert graded(obj(a=True), obj(a=False)) == [("dangerous", "not added")]


def test_the_order_of_what_has_none_means_nothing() -> None:
    assert drift({"type": ["string", "null"], "enum": ["a", "b"]}, {"type": ["null", "string"], "enum": ["b", "a"]}) == []


LEAVES = st.fixed_dictionaries({}, optional={
    "type": st.sampled_from(["string", "number", "integer", ["string", "null"]]), "enum": st.lists(st.sampled_from("abc"), min_size=1, unique=True),
    "minimum": st.integers(0, 2), "maxLength": st.integers(0, 2), "description": st.sampled_from("xy"), "title": st.sampled_from("xy"), "default": st.sampled_from("xy"),
})  # fmt: skip
SCHEMAS = st.recursive(LEAVES, lambda inner: st.builds(
    lambda properties, required: {"type": "object", "properties": properties, "required": sorted(required & set(properties))},
    st.dictionaries(st.sampled_from("abc"), inner, max_size=3), st.sets(st.sampled_from("abc"))), max_leaves=6)  # fmt: skip


@given(SCHEMAS, st.sampled_from(["in", "out"]))
def test_a_schema_has_not_drifted_from_itself(schema: Any, way: str) -> None:
    assert drift(schema, schema, way) == []


@given(SCHEMAS, SCHEMAS)
def test_what_breaks_one_way_does_not_break_the_other(old: Any, new: Any) -> None:
    """Sending against reading, forward against back: the same places, the same grades, but where a member is removed, which breaks both."""
    forth = {(change.pointer, change.grade) for change in drift(old, new, "in") if "member" not in change.what}
    back = {(change.pointer, change.grade) for change in drift(new, old, "out") if "member" not in change.what}
    assert forth == back
    removed = {change.pointer for change in drift(old, new, "in") if change.what == "member removed"}
    assert removed == {change.pointer for change in drift(new, old, "out") if change.what.endswith("member added")}


@given(SCHEMAS, SCHEMAS)
def test_every_grade_is_one(old: Any, new: Any) -> None:
    assert {change.grade for change in drift(old, new)} <= set(GRADES)
    assert bool(drift(old, new)) is bool(drift(new, old))
