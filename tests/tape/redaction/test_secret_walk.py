"""The walk: which values belong to a secret name, and where they are."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import planted

from shadowproxy.tape.redaction.json_literal import NotJson
from shadowproxy.tape.redaction.redaction import DEFAULT
from shadowproxy.tape.redaction.secret_finder import Finder
from shadowproxy.tape.redaction.secret_shapes import FURTHER
from shadowproxy.tape.redaction.secret_walk import FAR, Walk
from shadowproxy.tape.redaction.suspicion import Suspicion

FINDER = Finder(DEFAULT, FURTHER)


def found(value: Any, **rest: Any) -> dict[str, str]:
    """Where -> the secret."""
    return {secret.where: secret.value for secret in Walk(FINDER, json.dumps(value), **rest).run(0)[1]}


@pytest.mark.parametrize(("value", "secrets"), [
    ({"password": "x"}, {"/password": "x"}),
    ({"a": [{"token": 1.5}, {"token": -1}]}, {"/a/0/token": "1.5", "/a/1/token": "-1"}),
    ({"secret": {"a/b": ["x", {"~": "y"}], "on": True}}, {"/secret/a~1b/0": "x", "/secret/a~1b/1/~0": "y"}),
    ([{"name": "DB_PASSWORD", "value": "x"}], {"/0/value": "x"}),
    ([{"value": 7, "key": "token", "more": []}], {"/0/value": "7"}),
    ([{"name": "A sentence about a secret", "value": "x"}], {}),
    ({"password": {"type": "string", "description": "d", "default": "x"}}, {"/password/default": "x"}),
    ({"password": {"type": ["string", "null"], "enum": ["x"], "title": "t"}}, {"/password/enum/0": "x"}),
    ({"password": {"anyOf": [{"type": "string"}], "title": "t", "const": "x"}}, {"/password/const": "x"}),
    ({"password": {"type": "object", "properties": {"hint": {"type": "string", "title": "t"}}}}, {}),
    ({"password": {"description": "d"}}, {"/password/description": "d"}),
    ({"credentials": {"type": "basic", "user": "u"}}, {"/credentials/type": "basic", "/credentials/user": "u"}),
    ({"text": "a {\"token\": \"x\"} b"}, {"/text": "x"}),
    ({"args": ["run", "--api-key", "x", "y"]}, {"/args/2": "x"}),
    ({"args": ["-token", 5, "--password", "--verbose", "--secret", "", "z"]}, {"/args/1": "5"}),
    (["--token", "a text that says what it is for"], {}),
    (["--", "token", "password", "x"], {}),
    ({"a": "x" * FAR, "b": [{"c": ["y" * FAR, {"token": "z"}]}], "d": "v" * FAR}, {"/b/0/c/1/token": "z"}),
    ([{"value": "x" * FAR, "name": "token"}, {"value": "x", "name": "y" * FAR}], {"/0/value": "x" * FAR}),
])  # fmt: skip
def test_what_belongs_to_a_secret_name(value: Any, secrets: dict[str, str]) -> None:
    assert found(value) == secrets
    assert found(value, clues=Suspicion().clues(json.dumps(value))) == secrets


def test_who_is_pointed_at_is_no_schema() -> None:
    value = {"a": {"type": "string", "b": [None, True, {"c": 1}]}}
    assert found(value, pointers=(("a",),)) == {"/a/type": "string", "/a/b/0": "null", "/a/b/1": "true", "/a/b/2/c": "1"}
    assert found(value, pointers=(("*", "b", "2", "*"),)) == {"/a/b/2/c": "1"}


@given(planted(), st.sampled_from(["", " ", "\n"]))
def test_every_secret_is_what_its_place_spells(case: tuple[str, str], blank: str) -> None:
    text = f"[{blank}{case[0]}{blank}]"
    end, secrets = Walk(FINDER, text).run(0)
    assert end == len(text)
    assert secrets
    place = 0
    for secret in secrets:
        assert place <= secret.start < secret.end
        place = secret.end


@pytest.mark.parametrize("text", ['{"a":1]', '{"password":', "[1 2 x]", '["a":1]', '"a":1', ""])
def test_broken_json_is_told(text: str) -> None:
    with pytest.raises(NotJson):
        Walk(FINDER, text).run(0)
