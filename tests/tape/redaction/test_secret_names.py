"""Names: which ones name a secret, in any spelling, and which only sound like it."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import HARMLESS_NAMES, NAMES

from shadowproxy.tape.redaction.secret_names import HARMLESS_HEADERS, SCHEMA_WORDS, secret_name, squeezed


@given(st.sampled_from(NAMES), st.data())
def test_secret_in_any_case(name: str, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, 2 ** len(name)))
    mixed = "".join(character.upper() if bits >> place & 1 else character.lower() for place, character in enumerate(name))
    assert secret_name(mixed) is not None


@pytest.mark.parametrize(("name", "rule"), [
    ("Proxy-Authorization", "authorization"), ("set-cookie", "cookie"), ("X-API-Key", "api-key"), ("apiKey", "api-key"), ("API_KEYS", "api-key"), ("pwd", "password"),
    ("passWd", "password"), ("PASS_PHRASE", "passphrase"), ("aws_secret_access_key", "access-key"), ("requestState", "request-state"), ("refresh-token2", "token"),
    ("mcp-session-id", "session"), ("csrfToken", "token"), ("backend_token", "token"), ("x" * 1000 + "token", "token"),
])  # fmt: skip
def test_by_its_end_and_by_a_rule(name: str, rule: str) -> None:
    assert secret_name(name) == rule


@pytest.mark.parametrize("name", [*HARMLESS_NAMES, "progress_token", "continuationToken", "max_tokens", "input-tokens", "monkey", "passenger", "secretary", "cookieless", "", "sessionId"])
def test_what_only_sounds_like_it(name: str) -> None:
    assert secret_name(name) is None


def test_no_shown_header_and_no_word_of_schemas_names_a_secret() -> None:
    assert not [name for name in (*HARMLESS_HEADERS - {"access-control-allow-credentials"}, *SCHEMA_WORDS) if secret_name(name)]
    assert all(name == name.lower() for name in HARMLESS_HEADERS)


def test_squeezed() -> None:
    assert squeezed("Date-of_birth.x Y") == "dateofbirthxy"
