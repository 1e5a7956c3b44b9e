"""Policies: what can be meant, and what an error says of what cannot."""
from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.errors import ConfigError
from shadowproxy.tape.redaction.redaction import Redaction, segments


@pytest.mark.parametrize(("pointer", "steps"), [("/a/b", ("a", "b")), ("/a~1b/~0/*/0", ("a/b", "~", "*", "0")), ("/", ("",)), ("/~01", ("~1",))])
def test_pointers_by_rfc_6901(pointer: str, steps: tuple[str, ...]) -> None:
    assert segments(pointer) == steps


@pytest.mark.parametrize(("setting", "value", "words"), [
    ("pointers", ("a/b",), "pointers: 'a/b' is no JSON pointer"), ("pointers", ("/a~2",), "no JSON pointer"), ("patterns", ("(",), "patterns: '(' is no regular expression"),
    ("patterns", ("x*",), "matches the empty text"), ("keys", "password", "keys: must be a list"), ("keys", ("",), "not empty"), ("headers", (1,), "headers: must be a list"),
    ("callables", ("x",), "callables: must be functions"),
])  # fmt: skip
def test_what_cannot_be_meant_is_named(setting: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Redaction(**{setting: value})
    assert words in str(caught.value)


def test_lists_are_taken() -> None:
    lists: Any = {"keys": ["a"], "pointers": ["/a"]}
    assert Redaction(**lists) == Redaction(keys=("a",), pointers=("/a",))
