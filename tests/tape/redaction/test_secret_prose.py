"""Values with names in prose, settings, commands and headers; and source code, which has the same names."""
from __future__ import annotations

import pytest

from shadowproxy.tape.redaction.secret_prose import assigned


def found(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in assigned(text)]


@pytest.mark.parametrize(("text", "secret"), [
    ("API_KEY=abc123", "abc123"), ("export GITHUB_TOKEN='a b'", "a b"), ('password = "hunter2"', "hunter2"), ("{'pass_word': 'x y'", "x y"), ('"pin_secret": 4711,', "4711"),
    ('{\\"client_secret\\": \\"abc\\", ', "abc"), ("https://h/p?a=1&access_token=xyz&b=2", "xyz"), ("run --api-key abc --x", "abc"), ("run --db-password 'abc' x", "abc"),
    ("password: hunter2", "hunter2"), ("  - secret: a1b2c3\n", "a1b2c3"), ("> Authorization: Digest username=x, response=y", "Digest username=x, response=y"),
    ("Set-Cookie: a=b; Path=/\r\nX: y", "a=b; Path=/"), ("PASSWORD=correcthorse", "correcthorse"), ("secret := \"x\"", "x"), ("token => 'x'", "x"),
])  # fmt: skip
def test_found(text: str, secret: str) -> None:
    assert found(text) == [secret]


@pytest.mark.parametrize("text", [
    "token=token", "Client(password=self.password)", "api_key=get_key()", "token=os.environ['X']", "token: str", "token == other", "password=None", "secret=${SECRET}", "token=<token>",
    "The password: it must be long.", "Password: required", "progressToken=abc", "max_tokens=100", "a secret agent", '"type": "password", "name": "x"', "--token", "the token abc",
    "tokens: 12", "cookie-cutter", "password=[REDACTED:assigned:0123456789abcdef]",
])  # fmt: skip
def test_spared(text: str) -> None:
    assert found(text) == []
