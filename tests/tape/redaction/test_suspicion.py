"""The first look: never wrong when it says that nothing is there; `test_redact.py` holds it to all that is found by a thorough search."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import NAMES, Planted, looks, prose

from shadowproxy.tape.redaction.suspicion import bytes_suspicious, hits, in_lower_case, mentions, suspicious


@given(looks | prose)
def test_looks_are_suspicious(secret: Planted) -> None:
    assert suspicious(secret.text, secret.text.lower())
    assert bytes_suspicious(secret.text.encode())
    assert list(hits(in_lower_case(secret.text)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", [str, str.upper, str.lower, lambda name: f"é{name}İ"])
def test_names_are_suspicious(name: str, write: object) -> None:
    assert callable(write)
    text = write(name)
    assert bytes_suspicious(text.encode())
    assert list(hits(in_lower_case(text)))


@pytest.mark.parametrize("text", [
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","_meta":{"progressToken":"x-1"}}}', "max_tokens, tokens", "a\\nb \\\"quoted\\\" C:\\\\x", "someone@host.example",
    "https://host/path", "a key on a keyboard", "\\u20ac", "passengers",
])  # fmt: skip
def test_what_is_common_is_not(text: str) -> None:
    assert not bytes_suspicious(text.encode())


@given(st.text())
def test_lower_case_keeps_places(text: str) -> None:
    lowered = in_lower_case(text)
    assert len(lowered) == len(text)
    assert all(after == before.lower() for before, after in zip(text, lowered, strict=True) if before.isascii())


def test_configured_names_in_any_spelling() -> None:
    assert mentions('{"date_of-birth":1}', ("dateofbirth",))
    assert not mentions('{"date":"of birth"}', ("dateofbirth",))
