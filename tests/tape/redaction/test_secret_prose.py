"""Values with names in prose, settings, commands and headers; and source code, which has the same names."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import NAMES

from shadowproxy.tape.redaction.secret_prose import assigned
from shadowproxy.tape.redaction.suspicion import NAME, OPTION, Suspicion


def found(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in assigned(text, Suspicion().clues(text))]


@pytest.mark.parametrize(("text", "secret"), [
    ("API_KEY=abc123", "abc123"), ("export GITHUB_TOKEN='a b'", "a b"), ('password = "hunter2"', "hunter2"), ("{'pass_word': 'x y'", "x y"), ('"pin_secret": 4711,', "4711"),
    ('{\\"client_secret\\": \\"abc\\", ', "abc"), ("https://h/p?a=1&access_token=xyz&b=2", "xyz"), ("run --api-key abc --x", "abc"), ("run --db-password 'abc' x", "abc"),
    ("password: hunter2", "hunter2"), ("  - secret: a1b2c3\n", "a1b2c3"), ("> Authorization: Digest username=x, response=y", "Digest username=x, response=y"),
    ("Set-Cookie: a=b; Path=/\r\nX: y", "a=b; Path=/"), ("PASSWORD=correcthorse", "correcthorse"), ("SECRET_KEY=abc123", "abc123"), ("secret := \"x\"", "x"), ("token => 'x'", "x"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG\n", "wJalrXUtnFEMI/K7MDENG"), ("[db]\npassword = hunter2 ; mine\n", "hunter2"), ("signing_key=a1b2", "a1b2"),
    ("curl -H 'X-Api-Key: abc123' -d x", "abc123"), ('curl -H "Authorization: Basic dXNlcjpwYXNz"', "Basic dXNlcjpwYXNz"), ("--spring.datasource.password hunter2", "hunter2"),
    ("<server><password>hunter2</password></server>", "hunter2"),
])  # fmt: skip
def test_found(text: str, secret: str) -> None:
    assert found(text) == [secret]


@pytest.mark.parametrize("text", [
    "token=token", "Client(password=self.password)", "api_key=get_key()", "token=os.environ['X']", "token: str", "token == other", "password=None", "secret=${SECRET}", "token=<token>",
    "The password: it must be long.", "Password: required", "progressToken=abc", "max_tokens=100", "a secret agent", '"type": "password", "name": "x"', "--token", "the token abc",
    "tokens: 12", "cookie-cutter", "token = next_token", "password = get()", "token = tokens[0]", "max_token = 4096", "secret = a == b2", "'password: a new one'",
    "log(f'Authorization: Bearer {token}')", "<label>Password</label><b>x</b>", "<token>string</token>", "x" * 61 + "token: a1b2", "password=[REDACTED:assigned:0123456789abcdef]",
])  # fmt: skip
def test_spared(text: str) -> None:
    assert found(text) == []


parts = st.sampled_from([*NAMES, "token", "secret", "s", "2", "_", "=", ":", " : ", " = ", ":=", " ", "--", "'", '"', "\\", "\n", ">", "</x>", "a1b2", "hunter2", "x", "é", "İ", "(", "[", "progress"])


@given(st.lists(parts, max_size=12).map("".join))
def test_no_place_is_missed(text: str) -> None:
    """Asked about every place there is, it finds no more than at those that are clues."""
    everywhere = [(place, kind) for place in range(len(text)) for kind in (NAME, OPTION)]
    assert sorted(set(assigned(text, everywhere))) == sorted(set(assigned(text, Suspicion().clues(text))))


def test_long_lines_cost_no_square() -> None:
    """With it, this would take minutes."""
    text = "cookie: x " * 200_000
    assert [text[start:end] for start, end, _ in assigned(text, Suspicion().clues(text))][:1] == [text[8:].rstrip()]
