"""Secrets for tests, and the places to plant them: at any depth, in any spelling, in JSON within JSON."""
from __future__ import annotations

import json
import string
from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import strategies as st

ALPHANUMERIC = string.ascii_letters + string.digits
CAPITALS = string.ascii_uppercase + string.digits
NAMES = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "api_key", "apikey", "access_token", "refresh_token", "client_secret", "private_key",
    "authorization", "cookie", "set-cookie", "x-api-key", "requestState", "GITHUB_TOKEN", "dbPassword", "Proxy-Authorization", "credentials", "password2",
    "AWS_SECRET_ACCESS_KEY", "mcp-session-id", "Api Key",
)  # fmt: skip
HARMLESS_NAMES = ("name", "progressToken", "nextCursor", "next_page_token", "maxTokens", "tokens", "author", "keyboard", "key", "value", "text", "état", "a/b~c")
SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "/": "\\/"}


@attrs.frozen
class Planted:
    """`text` has a secret in it, whose part `core` occurs nowhere else."""

    text: str
    core: str


def cores(size: int, alphabet: str = ALPHANUMERIC) -> st.SearchStrategy[str]:
    """So many random characters, at least one digit among them."""
    return st.text(alphabet, min_size=size - 1, max_size=size - 1).map(lambda text: text[: size // 2] + "7" + text[size // 2 :])


def _looks(template: str, size: int, alphabet: str = ALPHANUMERIC) -> st.SearchStrategy[Planted]:
    return cores(size, alphabet).map(lambda core: Planted(template.replace("@@", core), core))


#: Values that are secret by their looks.
looks = st.one_of(
    _looks("sk-@@", 24), _looks("sk-proj-@@", 40), _looks("ghp_@@", 36), _looks("gho_@@", 36), _looks("github_pat_@@", 60), _looks("xoxb-@@", 30),
    _looks("xapp-1-@@", 30), _looks("AKIA@@", 16, CAPITALS), _looks("AIza@@", 35), _looks("glpat-@@", 20), _looks("npm_@@", 36), _looks("hf_@@", 34),
    _looks("sk_live_@@", 24), _looks("Bearer @@", 12), _looks("bearer @@", 40), _looks("https://someone:@@@host.example/x", 12),
    _looks("postgres://:@@@db:5432/", 10), _looks("eyJhbGciOiJIUzI1NiJ9.@@.c2lnbmF0dXJl", 30), _looks("eyJhbGciOiJIUzI1NiJ9.e30.@@", 30),
    _looks("-----BEGIN RSA PRIVATE KEY-----\n@@\n-----END RSA PRIVATE KEY-----", 40), _looks("-----BEGIN PRIVATE KEY-----\n@@", 40),
)  # fmt: skip

#: The same with a name before it, in prose.
prose = st.one_of(
    _looks("OPENAI_API_KEY=@@", 12), _looks("export DB_PASSWORD='@@'", 8), _looks('password: "@@"', 8), _looks("tool --api-key @@ --verbose", 12),
    _looks("tool --token=@@", 12), _looks("https://host/path?access_token=@@&x=1", 12), _looks("\nCookie: sid=@@; other=1\n", 12),
    _looks("\n  db_password: @@\n", 12), _looks("{'secret': '@@'", 12),
)  # fmt: skip


def _spelled(text: str, choice: int) -> str:
    """As a JSON string, its characters plain or escaped by the bits of a number."""
    return '"' + "".join(_spelling(character, choice >> 2 * place & 3) for place, character in enumerate(text)) + '"'


def _spelling(character: str, choice: int) -> str:
    if choice < 2 and character >= " " and character not in '"\\':
        return character
    if choice < 3 and character in SHORT:
        return SHORT[character]
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
    return escaped if choice == 3 else escaped.upper().replace("\\U", "\\u")


def spelled(text: str) -> st.SearchStrategy[str]:
    """A JSON string, plain for the most part."""
    return st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)]) | st.integers(0, 4 ** min(len(text), 60)).map(lambda choice: _spelled(text, choice))


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name} :{value}" for name, value in members) + "}"


harmless_texts = st.sampled_from(["", "x", "some words", "naïve ☃ \U0001f600", "a key, a token and a secret", 'say "hi"\n\tC:\\users', "[REDACTED:x:0123456789abcdef]",
                                  "author@host.example", "1+1=2", "basic information", "the bearer of news", "{not json}", "[1, 2]", "task-force-of-sixteen-people"])
harmless = st.recursive(
    st.sampled_from(["0", "-1.50", "1E+2", "true", "false", "null", "123456789012345678901234567890"]) | harmless_texts.flatmap(spelled),
    lambda inner: st.lists(inner, max_size=2).map(lambda items: f"[{' , '.join(items)}]")
    | st.lists(st.tuples(st.sampled_from(HARMLESS_NAMES).flatmap(spelled), inner), max_size=2).map(_object),
    max_leaves=4,
)


@st.composite
def around(draw: st.DrawFn, value: str) -> str:
    """JSON that has this JSON in it somewhere: as an element, as a member, or as text in a string."""
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, 3))
        before, behind = draw(st.lists(harmless, max_size=2)), draw(st.lists(harmless, max_size=2))
        if place == 0:
            value = f"[{','.join([*before, value, *behind])}]"
        elif place == 1:
            names = st.sampled_from(HARMLESS_NAMES).flatmap(spelled)
            value = _object([(draw(names), item) for item in (*before, value, *behind)])
        else:
            wrap = "@" if place == 2 else draw(st.sampled_from(["@", "see ```json\n@\n```", '{"x":1}\n@\n', "data: @\n\n"]))
            value = draw(spelled(wrap.replace("@", value)))
    return value


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """JSON with a secret in it, and the secret's core."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        secret = draw(looks | prose)
        before, behind = draw(st.sampled_from(["", "some words ", "(", "\n"])), draw(st.sampled_from(["", " more", ")", "\n", "."]))
        return draw(around(draw(spelled(before + secret.text + behind)))), secret.core
    if kind == 1:
        secret = draw(looks)
        return draw(around(_object([(draw(spelled(secret.text)), draw(harmless))]))), secret.core
    name = draw(spelled(draw(st.sampled_from(NAMES))))
    core = draw(cores(8))
    if kind == 2:
        number = "9" + str(draw(st.integers(10**9, 10**10)))
        return draw(around(_object([(name, number)]))), number
    if kind == 3:
        pair = [('"name"', name), ('"value"', draw(spelled(core)))]
        return draw(around(_object([*pair[:: draw(st.sampled_from([1, -1]))], ('"more"', draw(harmless))]))), core
    value = draw(spelled(core))
    if kind == 4:
        value = draw(st.sampled_from([f"[{value}]", f'{{"deep":[1,{{"deeper":{value}}}]}}', f'{{"type":"string","default":{value}}}', f'{{"user":"u","description":{value}}}']))
    return draw(around(_object([('"a"', draw(harmless)), (name, value), ('"z"', draw(harmless))]))), core


def everything(value: Any) -> Iterator[str]:
    """Every text in a JSON value, in its strings that hold JSON too."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from everything(name)
            yield from everything(item)
    elif isinstance(value, list):
        for item in value:
            yield from everything(item)
    elif isinstance(value, str):
        yield value
        if len(value) > 1:
            for part in (value, *value.split("\n"), *(line.removeprefix("data: ") for line in value.split("\n"))):
                try:
                    inner = json.loads(part)
                except ValueError:
                    continue
                if inner != value:
                    yield from everything(inner)
    else:
        yield json.dumps(value)
