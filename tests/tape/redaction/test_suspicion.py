"""The first look: never wrong when it says that nothing is there; `test_redact.py` holds it to all that is found by a thorough search."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import NAMES, Planted, looks, prose

from shadowproxy.tape.redaction.suspicion import NAME, OPTION, VALUE, Suspicion, in_lower_case, moved, within

SUSPICION = Suspicion()


@given(looks | prose)
def test_looks_are_suspicious(secret: Planted) -> None:
    assert SUSPICION.of_bytes(secret.text.encode())
    assert SUSPICION.clues(secret.text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", [str, str.upper, str.lower, lambda name: f"é{name}2", lambda name: f"İ\U0001f600{name}"])
def test_names_are_suspicious(name: str, write: object) -> None:
    assert callable(write)
    for text in (json.dumps({write(name): 1}), json.dumps(json.dumps([write(name), "x"])), f"{write(name)}=x", f"{write(name)} : x", f"<{write(name)}>x"):
        assert SUSPICION.of_bytes(text.encode())
        assert NAME in [kind for _, kind in SUSPICION.clues(text)]


@pytest.mark.parametrize("text", [
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","_meta":{"progressToken":"x-1"}}}', "max_tokens, tokens", "a\\nb \\\"quoted\\\" C:\\\\x", "someone@host.example",
    "https://host/path", "a key on a keyboard", "\\u20ac", "passengers", "a secret agent, the secretary and a token of love", "see https://host/a and mail@host.example", "the bearer of news",
    "basic-ally", "the risk-averse task-force", "QUtJQUFLSUFBS0lBQUtJQUFLSUE/AIzaQUtJQUFLSUFBS0lBeyJhbGciOiJIUzI1NiJ9QUtJQUtJQAKIAQUtJQUFLSUFBS0lB", "eyJ not a token", '{"value":"x","name":"y"}',
])  # fmt: skip
def test_what_is_common_is_not(text: str) -> None:
    assert not SUSPICION.of_bytes(text.encode())
    assert SUSPICION.clues(text) == []


def test_clues_say_where_and_what() -> None:
    text = "a --token x, API_KEY=y, sk-z and \\u0073k"
    assert [(text[place:][:3], kind) for place, kind in SUSPICION.clues(text)] == [("--t", OPTION), ("KEY", NAME), ("k-z", "sk"), ("\\u0", "spelled")]


@pytest.mark.parametrize(("text", "values"), [
    ('{"name":"TOKEN","value":1}', 1), ('{"value":1,"key" :\n "db_password"}', 1), ('{"key":' + " " * 99 + '"token","value":1}', 1), ('{"n\\u0061me":"token","value":1}', 1),
    ('{"token":1,"value":1}', 0), ('{"name":"a token of love","value":1}', 0), ('{"value":1}', 0),
])  # fmt: skip
def test_values_are_clues_only_beside_names(text: str, values: int) -> None:
    assert [kind for _, kind in SUSPICION.clues(text)].count(VALUE) == values


@given(st.text())
def test_lower_case_keeps_places(text: str) -> None:
    lowered = in_lower_case(text)
    assert len(lowered) == len(text)
    assert all(after == before.lower() for before, after in zip(text, lowered, strict=True) if before.isascii())


def test_configured_names_in_any_spelling() -> None:
    suspicion = Suspicion(["dateofbirth", "a/b"])
    assert suspicion.of_bytes(b'{"date_of-birth":1}')
    assert suspicion.of_bytes(b'{"Date Of Birth":1}')
    assert suspicion.of_bytes(b'{"a\\/b":1}')
    assert not suspicion.of_bytes(b'{"date":"of birth"}')


def test_parts_of_clues() -> None:
    clues = [(1, "a"), (3, "b"), (3, "c"), (7, "d")]
    assert list(within(clues, 3, 7)) == clues[1:3]
    assert moved(clues[3:], -2) == [(5, "d")]
