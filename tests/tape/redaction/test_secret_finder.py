"""The finder: JSON in texts, prose around it, and what it remembers."""
from __future__ import annotations

import json

import pytest

from shadowproxy.tape.redaction.redaction import DEFAULT, Redaction
from shadowproxy.tape.redaction.secret_finder import KEY_LENGTH, KEYS_KNOWN, Finder
from shadowproxy.tape.redaction.secret_shapes import FURTHER

NESTED = json.dumps({"a": json.dumps([json.dumps({"token": "x"})])})


@pytest.mark.parametrize(("text", "secrets"), [
    (NESTED, ["x"]), (json.dumps(NESTED), ["x"]), ("```json\n" + NESTED + "\n```", ["x"]), ('{"token":"a"}\n{"token":"b"}\n', ["a", "b"]), ('data: {"token":"a"}\n\n', ["a"]),
    ('log: {"level": "info", "token": ["a", 1]} password=hunter2', ["a", "1", "hunter2"]), ('{broken {"token":"a"}', ["a"]), ("[see note] [1] {x} token=a1b2 {}", ["a1b2"]),
    ('"{\\"token\\":\\"a\\"}"', ["a"]), ("x \\u0073k-aaaaaaaaaaaaaaaa1 y", ["sk-aaaaaaaaaaaaaaaa1"]), ("https:\\/\\/u:pw@h", ["pw"]), ("nothing here", []),
])  # fmt: skip
def test_json_in_texts(text: str, secrets: list[str]) -> None:
    found = Finder(DEFAULT).text(text)
    assert [secret.value for secret in found] == secrets
    assert found == sorted(found, key=lambda secret: secret.start)


def test_further_shapes_are_looked_for_everywhere() -> None:
    text = '{"a":"ya29.' + "a" * 30 + '"}'
    assert not Finder(DEFAULT).needs_look(text.encode())
    assert not Finder(DEFAULT, FURTHER).needs_look(b'{"a":"nothing"}')
    finder = Finder(DEFAULT, FURTHER)
    assert finder.needs_look(text.encode())
    assert [secret.rule for secret in finder.message(text)] == ["google-oauth"]


def test_names_are_remembered_within_bounds() -> None:
    finder = Finder(DEFAULT)
    for number in range(KEYS_KNOWN + 10):
        finder.key(f'"k{number}"')
    assert len(finder._keys) <= KEYS_KNOWN
    finder.key('"' + "x" * KEY_LENGTH + '"')
    assert max(map(len, finder._keys)) <= KEY_LENGTH
    assert finder.key('"pass\\u0077ord"').rule == "password"


def test_harmless_texts_are_remembered_within_bounds_and_no_others_are() -> None:
    finder, secret = Finder(DEFAULT, FURTHER), "ya29." + "a" * 30
    for number in range(KEYS_KNOWN + 10):
        assert not finder.text(f"nothing here {number}")
    assert 0 < len(finder._harmless) <= KEYS_KNOWN
    for text in (secret, '{"token":"a"}', "{}", "x" * (KEY_LENGTH + 1)):
        assert finder.text(text) == finder.text(text)
        assert text not in finder._harmless
    assert [found.rule for found in finder.text(secret)] == ["google-oauth"]


def test_rules_of_names() -> None:
    finder = Finder(Redaction(keys=("pin",), without=("cookie",)))
    assert [finder.name_rule(name) for name in ("P-I_N", "cookie", "token", "x")] == ["key", None, "token", None]
