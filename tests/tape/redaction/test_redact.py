"""Redaction: no planted secret gets through, whatever is no secret stays byte for byte, and equal secrets stay equal."""
from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planting import NAMES, cores, everything, harmless, looks, planted, spelled
from tapes import HEADER, happening, notification, raw, request, response

from shadowproxy.tape.frame import Frame, Http, Sse
from shadowproxy.tape.redaction.redact import DEFAULT, FIELD_LENGTH, FIELDS_KNOWN, Redaction, Redactor, is_token
from shadowproxy.tape.redaction.redaction import Judge
from shadowproxy.tape.redaction.secret_finder import Finder
from shadowproxy.tape.redaction.secret_shapes import FURTHER, TOKEN, Shape

KEY = b"a key for tests, of 32 bytes...."
REDACTOR = Redactor(DEFAULT, KEY)


def redacted(value: Any, redactor: Redactor = REDACTOR) -> Any:
    return json.loads(redactor.message(json.dumps(value).encode()))


def tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


# --- nothing gets through

@given(planted())
@settings(max_examples=150)
@example(('"see ```json\\n\\"Bearer 000000700000\\"\\n```"', "000000700000"))
@example(('"see ```json\\n\\"\\\\u0073k-000000000000700000000000\\"\\n```"', "000000000000700000000000"))
@example(('["x \\\\u0073k-000000000000700000000000"]', "000000000000700000000000"))
@example(('"see [0,\\"{\\\\\\"name\\\\\\":\\\\\\"password\\\\\\",\\\\\\"value\\\\\\":\\\\\\"00007000\\\\\\"}\\"]"', "00007000"))
def test_a_planted_secret_never_gets_through(case: tuple[str, str]) -> None:
    text, core = case
    after = REDACTOR.message(text.encode()).decode()
    assert not [found for found in everything(json.loads(after)) if core in found]
    assert core not in after


@given(planted(), planted())
def test_redacting_twice_changes_nothing_more(one: tuple[str, str], two: tuple[str, str]) -> None:
    once = REDACTOR.message(f"[{one[0]},{two[0]}]".encode())
    assert REDACTOR.message(once) == once


@given(planted())
@settings(max_examples=100)
def test_all_but_the_secret_stays_byte_for_byte(case: tuple[str, str]) -> None:
    """What is between the tokens stood there before, in that order, and where a token stands at most its own literal was longer."""
    before, after = case[0], REDACTOR.message(case[0].encode()).decode()
    fakes = set(tokens(before))
    kept = re.split("|".join(re.escape(token) for token in {*tokens(after)} - fakes) or "(?!)", after)
    place = 0
    for number, part in enumerate(kept):
        part = re.sub(r'\\*"$', "", part) if number < len(kept) - 1 else part  # a number that became a string has new quotes
        part = re.sub(r'^\\*"', "", part) if number else part
        found = before.find(part, place)
        assert found == 0 if number == 0 else found >= 0
        place = found + len(part)
    assert before.endswith(re.sub(r'^\\*"', "", kept[-1]))


@given(harmless)
@settings(max_examples=100)
def test_what_holds_no_secret_is_the_very_same(document: str) -> None:
    data = document.encode()
    assert REDACTOR.message(data) is data


fragments = st.lists(st.sampled_from([
    "password", "token", "secret", "API_KEY", "progressToken", "cookie", "requestState", "name", "value", "=", ":", ": ", " ", "\n", '"', "'", "{", "}", "[", "]", ",", "\\", "--",
    "sk-aaaaaaaaaaaaaaaa1", "Bearer ", "basic ", "dXNlcjpwYXNz", "eyJhbGciOi.e30.x", "ghp_aaaaaaaaaaaaaaaaaaaa", "AKIAAAAAAAAAAAAAAAAA", "://", "@", "a", "hunter2", "12345", "\\u0073",
    "ASIAAAAAAAAAAAAAAAAA", "ya29.", "GOCSPX-", "SG.", "pypi-", "dop_v1_", "shpat_", "gsk_", "xai-", "12345678", "?sig=", "AccountKey=", "a1B2" * 10, "/", "--token ", "<", ">",
    "[REDACTED:sk:0123456789abcdef]", "[REDACTED:", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "type", "string", "true", "é", "İ", "\U0001f600",
]), max_size=25).map("".join)  # fmt: skip


@given(fragments)
@settings(max_examples=100)
@example("Bearer sk-aaaaaaaaaaaaaaaa1sk-aaaaaaaaaaaaaaaa1")
def test_any_text_is_done_after_one_redaction(text: str) -> None:
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once
    data = REDACTOR.message(json.dumps({"a": text, "b": [text]}).encode())
    assert REDACTOR.message(data) == data


@pytest.mark.parametrize("further", [(), FURTHER])
@given(text=fragments | planted().map(lambda case: case[0]))
@settings(max_examples=100)
def test_the_short_cuts_miss_nothing(text: str, further: Sequence[Shape]) -> None:
    """A policy with a callable looks at everything; it finds no more than the one that passes by what is not suspicious."""
    thorough = Finder(Redaction(callables=(lambda where, text: False,)), further)
    quick = Finder(DEFAULT, further)

    def spans(finder: Finder, text: str) -> list[tuple[int, int, str]]:
        return [(secret.start, secret.end, secret.rule) for secret in finder.message(text)]

    for document in (text, json.dumps({"x": [text, {"k": text}], "password": 1}), json.dumps([[[[[text]]]], 2, {"a": {"b": {"c": {"d": {"token": text}}}}}])):
        assert spans(quick, document) == spans(thorough, document)
        if spans(thorough, document):
            assert quick.needs_look(document.encode("utf-8", "surrogatepass"))


# --- tokens

@given(st.sampled_from(NAMES), st.text(min_size=1), st.binary(min_size=16, max_size=40), st.binary(min_size=16, max_size=40))
def test_equal_secrets_give_equal_tokens_by_one_key(name: str, value: str, key: bytes, other: bytes) -> None:
    message = {"a": {name: value}, "b": [{name: value}, {name: value + "!"}]}
    after = redacted(message, Redactor(DEFAULT, key))
    first = after["a"][name]
    assert is_token(first)
    assert first == after["b"][0][name] != after["b"][1][name]
    assert redacted(message, Redactor(DEFAULT, key)) == after
    if key.rstrip(b"\0") != other.rstrip(b"\0"):  # HMAC pads keys with zeros
        assert redacted(message, Redactor(DEFAULT, other))["a"][name] != first
        assert Redactor(DEFAULT, key).fingerprint != Redactor(DEFAULT, other).fingerprint


@given(cores(12).flatmap(lambda core: st.tuples(spelled(core), spelled(core))))
def test_a_secret_is_the_same_in_every_spelling(pair: tuple[str, str]) -> None:
    after = json.loads(REDACTOR.message(f'{{"token":{pair[0]},"x":{{"token":{pair[1]}}}}}'.encode()))
    assert after["token"] == after["x"]["token"]


@given(looks)
def test_the_hash_does_not_depend_on_the_rule(secret: Any) -> None:
    """So that the token of a secret by its name can be found where it stands by its looks."""
    found = TOKEN.fullmatch(REDACTOR.text(secret.text))
    if found:
        named = redacted({"password": secret.text})["password"]
        assert named.rsplit(":", 1)[1] == found[0].rsplit(":", 1)[1]


def test_a_token_names_its_rule() -> None:
    assert re.fullmatch(r"\[REDACTED:password:[0-9a-f]{16}\]", redacted({"db_password": "x"})["db_password"])
    assert is_token("[REDACTED:sk:0123456789abcdef]")
    assert not is_token("x [REDACTED:sk:0123456789abcdef]")
    assert not is_token("[REDACTED:sk:0123]")


# --- what is spared

@pytest.mark.parametrize("value", [
    {"progressToken": "abc-1", "nextCursor": "eyx", "next_page_token": "abc", "maxTokens": 100, "tokens": 12},
    {"password": None, "token": True, "secret": ""},
    {"inputSchema": {"type": "object", "properties": {"password": {"type": "string", "description": "the password", "minLength": 8}}, "required": ["password"]}},
    {"properties": {"token": {"anyOf": [{"type": ["string", "null"], "title": "Token"}]}}},
    {"text": "client = Client(token=token, password=self.password, api_key=get_key())\nif secret == other: pass"},
    {"text": "The token is sent as a bearer token. Basic authentication needs a password: see below."},
    {"www": 'Bearer realm="x", resource_metadata="https://host/.well-known"'},
    {"uri": "https://host:8080/path@2", "mail": "someone@host.example", "git": "ssh://git@host/x"},
    {"data": "QUtJQUFLSUFBS0lBQUtJQUFLSUE/AIzaQUtJQUFLSUFBS0lBQUtJQUFLSUFBS0lBQUtJQUFLSUE/"},
])  # fmt: skip
def test_what_only_sounds_secret_stays(value: Any) -> None:
    data = json.dumps(value).encode()
    assert REDACTOR.message(data) == data


@given(st.binary(min_size=3000, max_size=3000))
@settings(max_examples=50)
@example(b"\x00\xab\x1eyJ" * 600)
def test_images_stay_byte_for_byte_and_are_not_even_looked_at(image: bytes) -> None:
    data = json.dumps({"result": {"content": [{"type": "image", "data": base64.b64encode(image).decode(), "mimeType": "image/png"}]}}).encode()
    assert REDACTOR.message(data) is data


@pytest.mark.parametrize("value", [
    "123e4567-e89b-12d3-a456-426614174000", "d41d8cd98f00b204e9800998ecf8427e", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad", "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "task-0123456789abcdef0123", "session_0123456789abcdef", "toolu_01A09q90qw90lq917835lq9", "msg_0123456789abcdefghij", "sk-learn", "https://host/path?cursor=eyJwYWdlIjoyfQ", "2025-11-25",
])  # fmt: skip
@pytest.mark.parametrize("name", ["id", "progressToken", "sessionId", "cursor", "nextCursor", "commit", "integrity", "taskId", "key", "uri", "text", "etag"])
def test_ids_and_hashes_stay(name: str, value: str) -> None:
    data = json.dumps({name: value, "text": f"see {value}.", "list": [value]}).encode()
    assert REDACTOR.message(data) is data


def test_the_values_in_the_schema_of_a_secret_are_secret() -> None:
    schema = {"type": "string", "title": "Password", "default": "hunter2", "examples": ["letmein"], "enum": ["a1"]}
    after = redacted({"properties": {"password": schema}})["properties"]["password"]
    assert after["title"] == "Password"
    assert all(map(is_token, (after["default"], after["examples"][0], after["enum"][0])))


# --- what is configured

@pytest.mark.parametrize("name", ["пароль", "mot de passé", "straße"])
@pytest.mark.parametrize("ascii", [True, False])
def test_configured_keys_in_any_script(name: str, ascii: bool) -> None:
    redactor = Redactor(Redaction(keys=(name,)), KEY)
    after = json.loads(redactor.message(json.dumps({name.upper() if "ß" not in name else name: "x", "y": "z"}, ensure_ascii=ascii).encode()))
    assert [is_token(value) for value in after.values()] == [True, False]


def test_configured_keys_in_any_spelling() -> None:
    redactor = Redactor(Redaction(keys=("date_of_birth",)), KEY)
    after = redacted({"dateOfBirth": "1", "DATE-OF-BIRTH": 2, "dateofbirth2": "3", "x": "4"}, redactor)
    assert [is_token(str(value)) for value in after.values()] == [True, True, False, False]


@given(st.data())
def test_pointers(data: st.DataObject) -> None:
    redactor = Redactor(Redaction(pointers=("/params/arguments/pin", "/result/*/x~1y", "/list/1")), KEY)
    value = data.draw(st.sampled_from(["1234", 5, True, None, [1, {"type": "string", "title": "x"}]]))
    message = {"params": {"arguments": {"pin": value, "pan": "kept"}}, "result": {"a": {"x/y": value, "x": "kept"}}, "list": ["kept", value, "kept"]}
    after = redacted(message, redactor)
    assert after["params"]["arguments"]["pan"] == after["result"]["a"]["x"] == after["list"][0] == after["list"][2] == "kept"
    for found in (after["params"]["arguments"]["pin"], after["result"]["a"]["x/y"], after["list"][1]):
        leaves = [found] if not isinstance(found, list) else [found[0], *found[1].values()]
        assert all(isinstance(leaf, str) and is_token(leaf) for leaf in leaves)


def test_patterns() -> None:
    redactor = Redactor(Redaction(patterns=(r"acme-\d+", r"^case (\w+)")), KEY)
    after = redacted({"a": "x acme-12, acme-13", "b": "case closed, case open", "acme-1": 1}, redactor)
    assert len(tokens(after["a"])) == 2
    assert re.fullmatch(r"case \[REDACTED:pattern:\w+\], case open", after["b"])
    assert "acme-1" not in after
    assert redacted(after, redactor) == after


def test_callables() -> None:
    seen: list[tuple[str, str]] = []

    def judge(where: str, text: str) -> bool:
        seen.append((where, text))
        return text == "xyzzy"

    redactor = Redactor(Redaction(callables=(judge,)), KEY)
    after = redacted({"a": ["plugh", "xyzzy"]}, redactor)
    assert (after["a"][0], is_token(after["a"][1])) == ("plugh", True)
    assert ("/a/1", "xyzzy") in seen
    redactor.frame(happening(1, "refusal", text="no", http=Http(None, 403, (("server", "s"),))))
    assert ("text", "no") in seen
    assert ("header:server", "s") in seen


def test_a_callable_that_fails_says_secret() -> None:
    def judge(where: str, text: str) -> bool:
        raise KeyError(where)

    judges: tuple[Judge, ...] = (judge,)
    assert is_token(redacted({"a": "x"}, Redactor(Redaction(callables=judges), KEY))["a"])


def test_rules_can_be_left_out() -> None:
    redactor = Redactor(Redaction(without=("token", "sk", "assigned")), KEY)
    value = {"token": "abc", "x": "sk-aaaaaaaaaaaaaaaaaaaa", "y": "API_KEY=abcdef1", "password": "p"}
    after = redacted(value, redactor)
    assert {**after, "password": "p"} == value
    assert is_token(after["password"])


def test_off_changes_nothing() -> None:
    redactor = Redactor(Redaction(off=True), KEY)
    frame = request(1, "tools/call", {"password": "x"}, http=Http("POST", None, (("authorization", "Bearer abc"),)))
    assert redactor.frame(frame) is frame
    assert redactor.text("password=hunter2") == "password=hunter2"
    assert redactor.header(HEADER).redaction == "none"


# --- frames

def test_only_harmless_headers_are_shown() -> None:
    fields = (("content-type", "application/json"), ("Authorization", "Bearer abc"), ("mcp-session-id", "s-1"), ("x-anything", "v"), ("x-kept", "k"),
              ("user-agent", "tool/1 sk-aaaaaaaaaaaaaaaaaaaa"), ("cookie", ""))  # fmt: skip
    redactor = Redactor(Redaction(headers=("X-Kept",)), KEY)
    after = redactor.frame(request(1, "ping", http=Http("POST", None, fields)))
    assert after.http is not None
    found = dict(after.http.headers)
    assert (found["content-type"], found["x-kept"], found["cookie"]) == ("application/json", "k", "")
    assert all(is_token(found[name]) for name in ("Authorization", "mcp-session-id", "x-anything"))
    assert found["user-agent"].startswith("tool/1 [REDACTED:sk:")
    assert after.redacted == ("authorization", "header", "session", "sk")
    again = redactor.frame(request(2, "ping", http=Http("POST", None, fields)))
    assert again.http == after.http
    assert redactor.frame(after) == after


def test_fields_that_are_remembered_are_redacted_alike_and_bounded() -> None:
    redactor = Redactor(DEFAULT, KEY)
    for number in range(FIELDS_KNOWN + 10):
        frame = request(1, "ping", http=Http("POST", None, (("cookie", f"c{number}"), ("accept", "*/*"), ("x-long", "x" * (FIELD_LENGTH + 1)))))
        after = redactor.frame(frame)
        assert after == Redactor(DEFAULT, KEY).frame(frame)
        assert after.redacted == ("cookie", "header")
    assert redactor._fields_known is not None
    assert len(redactor._fields_known) <= FIELDS_KNOWN
    assert max(len(value) for _, value in redactor._fields_known) <= FIELD_LENGTH


def test_a_clean_frame_is_the_very_same() -> None:
    frame = request(1, "tools/call", {"name": "x"}, http=Http("POST", None, (("accept", "*/*"),)), sse=Sse("1", "message"))
    assert REDACTOR.frame(frame) is frame


def test_every_member_of_a_frame_is_looked_at() -> None:
    secret = "ghp_" + "a1" * 18
    frame = Frame(n=1, t=0.0, dir="s2c", kind="event", session=secret, method=secret, id=raw(secret), token=raw(secret), error=secret, text=f"x {secret}",
                  http=Http(None, 200, (("server", secret),)), sse=Sse(secret, secret, 1, f'{{"password":"{secret}"}}'))  # fmt: skip
    after = REDACTOR.frame(frame)
    assert secret not in str(after)
    assert after.redacted == ("github", "password")
    assert (after.id, after.http and after.http.status, after.sse and after.sse.retry) == (after.token, 200, 1)


def test_what_a_frame_repeats_of_its_message_is_redacted_alike() -> None:
    redactor = Redactor(Redaction(pointers=("/id", "/params/_meta/progressToken", "/method")), KEY)
    frame = request(1, "tools/call", {"_meta": {"progressToken": "t-1"}}, id="secret-id", token=raw("t-1"))
    after = redactor.frame(frame)
    value = after.value()
    assert json.loads(bytes(after.id or b"")) == value["id"]
    assert json.loads(bytes(after.token or b"")) == value["params"]["_meta"]["progressToken"]
    assert after.method == value["method"]
    assert all(map(is_token, (value["id"], value["method"], value["params"]["_meta"]["progressToken"])))


def test_ids_and_tokens_with_secrets_stay_linked() -> None:
    """A request and its response, a progress token and its notifications: what was equal is equal."""
    secret = "sk-" + "a1" * 12
    asked = REDACTOR.frame(request(1, "tools/call", {"_meta": {"progressToken": secret}}, id=secret, token=raw(secret)))
    progress = REDACTOR.frame(notification(2, "notifications/progress", {"progressToken": secret, "progress": 1}, token=raw(secret)))
    answer = REDACTOR.frame(response(3, 1, id=secret))
    assert asked.id == answer.id != raw(secret)
    assert asked.token == progress.token != raw(secret)
    assert bytes(asked.token or b"") in bytes(progress.message or b"")


def test_earlier_rules_are_not_forgotten() -> None:
    after = REDACTOR.frame(happening(1, "refusal", text="password=hunter2", redacted=("key",)))
    assert after.redacted == ("assigned", "key")


def test_the_header_of_a_tape() -> None:
    header = type(HEADER)(tool="t", origin=0.0, upstream="npx server --api-key abc123def", server=raw({"name": "s", "token": "x"}))
    after = Redactor(Redaction(name="strict"), KEY).header(header)
    assert after.upstream.startswith("npx server --api-key [REDACTED:")
    assert is_token(json.loads(bytes(after.server or b""))["token"])
    assert (after.redaction, after.key) == ("strict", REDACTOR.fingerprint)


def test_a_header_names_every_key_that_was_used() -> None:
    """A tape with tokens of two keys has the same as no tape of one: nobody takes its tokens for comparable with either's."""
    other = Redactor(DEFAULT, b"another key for tests, of 32 bytes")
    once = REDACTOR.header(HEADER)
    twice = other.header(once)
    assert (once.key, twice.key) == (REDACTOR.fingerprint, f"{REDACTOR.fingerprint}+{other.fingerprint}")
    assert other.header(twice).key == REDACTOR.header(twice).key == twice.key


# --- hostile input

@pytest.mark.parametrize("data", [b'{"password": "abc', b"\xff\xfe password=hunter2", b'{"password":"\\ud800hunter2"}', b'{"password":"\\x"}', b'{"password" hunter2}', b"",
                                  b'["password":"hunter2"]', b"}", b'{"token":"\xff\xff"}'])  # fmt: skip
def test_what_is_no_json_is_a_text(data: bytes) -> None:
    once = REDACTOR.message(data)
    assert b"hunter2" not in once or b"=" not in data
    assert REDACTOR.message(once) == once


@pytest.mark.parametrize("text", [
    '{"password":' * 20_000, "[" * 100_000 + "secret", '{"a":' * 50_000 + '"password=hunter2"' + "}" * 50_000, "password=" * 20_000, '"' * 100_000 + "secret",
    "\\" * 100_000 + "secret", "Bearer " * 20_000, "://a:" * 20_000, "-----BEGIN PRIVATE KEY-----" * 5_000, "--token " * 20_000, '[{"' * 30_000 + "secret", "eyJ" * 40_000,
    "cookie: " * 20_000, "a" * 200_000 + "token=", "x\npassword: " * 20_000,
])  # fmt: skip
def test_hostile_texts_end(text: str) -> None:
    """In linear time: with its square, each of these would take minutes, and the test run would show it."""
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once
    REDACTOR.message(text.encode())
    after = json.loads(REDACTOR.message(json.dumps({"a": text}).encode()))
    assert after == {"a": once}
