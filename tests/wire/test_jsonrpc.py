"""Messages: values byte for byte, ids as keys, and whatever hostile bytes there are."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadowproxy.wire.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_ID_BYTES,
    PARSE_ERROR,
    BadMessage,
    Message,
    Raw,
    as_line,
    decode_batch,
    encode,
    error_code,
    error_reply,
    is_batch,
    key_of,
    text_of,
)

# --- JSON in every spelling that the grammar allows

numbers = st.sampled_from(["0", "-0", "1E+2", "1e-7", "-0.0", "1.10", "123456789012345678901234567890", "-99999999999999999999"]) | st.integers().map(str)
blanks = st.sampled_from(["", "", "", " ", "\n\t ", "\r\n"])
SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "/": "\\/"}
characters = st.characters(exclude_categories=["Cs"])


def spellings(character: str) -> st.SearchStrategy[str]:
    """A character as a JSON string may have it."""
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
    plain = [character] if character >= " " and character not in '"\\' else []
    return st.sampled_from([*plain, escaped, escaped.upper().replace("\\U", "\\u"), *([SHORT[character]] if character in SHORT else [])])


def spelled(text: str) -> st.SearchStrategy[str]:
    return st.tuples(*map(spellings, text)).map(lambda parts: f'"{"".join(parts)}"')


strings = st.text(characters, max_size=6).flatmap(spelled)


def spaced(opening: str, items: list[str], closing: str, blank: str) -> str:
    return opening + blank + f"{blank},{blank}".join(items) + blank + closing


documents = st.recursive(
    numbers | strings | st.sampled_from(["true", "false", "null"]),
    lambda inner: st.builds(lambda items, blank: spaced("[", items, "]", blank), st.lists(inner, max_size=3), blanks)
    | st.builds(lambda pairs, blank: spaced("{", [f"{name}{blank}:{blank}{value}" for name, value in pairs], "}", blank),
                st.lists(st.tuples(strings, inner), max_size=3), blanks),
    max_leaves=8)  # fmt: skip
names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=5).filter(lambda name: name not in ("method", "jsonrpc", "params"))
members = st.dictionaries(names, documents, max_size=4)


def raws(data: bytes) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in msgspec.json.decode(data, type=dict[str, msgspec.Raw]).items()}


def written(fields: dict[str, str]) -> str:
    return ",".join(f'"{name}":{value}' for name, value in fields.items())


def bad(function: Callable[[], Any]) -> int:
    with pytest.raises(BadMessage) as caught:
        function()
    assert str(caught.value)
    return caught.value.code


# --- round trips

@given(members, blanks)
def test_every_value_leaves_as_it_came(given_members: dict[str, str], blank: str) -> None:
    fields = {"jsonrpc": '"2.0"', "method": '"m"', **given_members}
    data = spaced("{", [f'"{name}"{blank}:{blank}{value}' for name, value in fields.items()], "}", blank).encode()
    message = Message.decode(data)
    assert raws(message.encode()) == {name: value.encode() for name, value in fields.items()}
    assert list(raws(message.encode())) == list(fields)
    assert raws(message.encode_as(Raw(b"77"))) == {**raws(data), "id": b"77"}
    assert raws(message.encode()) == raws(data), "encode_as leaves the message as it is"


@given(members, members)
def test_a_level_that_was_looked_at_keeps_its_values(params: dict[str, str], meta: dict[str, str]) -> None:
    inner = written({**params, "_meta": "{" + written(meta) + "}"})
    message = Message.decode(b'{"jsonrpc":"2.0","method":"m","params":{%b}}' % inner.encode())
    assert {name: bytes(value) for name, value in message.meta().items()} == {name: value.encode() for name, value in meta.items()}
    sent = raws(raws(message.encode())["params"])
    assert {name: value for name, value in sent.items() if name != "_meta"} == {name: value.encode() for name, value in params.items() if name != "_meta"}
    assert raws(sent["_meta"]) == {name: value.encode() for name, value in meta.items()}


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
@example(b"\xff")
@example(b"\xef\xbb\xbf{}")
@example(b"[]")
@example(b'{"jsonrpc":"2.0"')
def test_garbage_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    try:
        Message.decode(data)
    except BadMessage as error:
        assert error.code in (PARSE_ERROR, INVALID_REQUEST)


@pytest.mark.parametrize(("data", "code"), [
    (b"", PARSE_ERROR),
    (b"{", PARSE_ERROR),
    (b'{"jsonrpc":"2.0","method":"m"} x', PARSE_ERROR),
    (b'{"jsonrpc":"2.0","method":"m","params":{"a":NaN}}', PARSE_ERROR),
    (b'{"jsonrpc":"2.0","method":"m","params":{"a":01}}', PARSE_ERROR),
    (b'{"jsonrpc":"2.0","method":"m","params":{"a":"\x01"}}', PARSE_ERROR),
    (b'"text"', INVALID_REQUEST),
    (b"[1]", INVALID_REQUEST),
    (b'{"method":"m","id":1}', INVALID_REQUEST),
    (b'{"jsonrpc":"1.0","method":"m"}', INVALID_REQUEST),
    (b'{"jsonrpc":2.0,"method":"m"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":null}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":5}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', INVALID_REQUEST),
])
def test_what_is_no_message(data: bytes, code: int) -> None:
    assert bad(lambda: Message.decode(data)) == code


# --- duplicate keys: one meaning, for us and for the server

def test_of_duplicate_members_the_last_is_what_everybody_sees() -> None:
    message = Message.decode(b'{"jsonrpc":"2.0","id":1,"method":"ping","id":2,"method":"tools/call"}')
    assert message.method == "tools/call"
    assert message.encode() == b'{"jsonrpc":"2.0","id":2,"method":"tools/call"}'


def test_a_duplicate_in_a_level_that_was_looked_at_collapses_too() -> None:
    message = Message.decode(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","\\u006eame":"evil"}}')
    assert text_of(message.params()["name"]) == "evil"
    assert message.encode().count(b"safe") == 0
    assert message.encode().count(b"evil") == 1


# --- ids

@given(st.text(characters, max_size=10).flatmap(lambda text: st.tuples(st.just(text), spelled(text))), st.text(characters, max_size=10).flatmap(
    lambda text: st.tuples(st.just(text), spelled(text))))  # fmt: skip
def test_equal_strings_have_equal_keys_however_they_are_spelled(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (key_of(Raw(one[1].encode())) == key_of(Raw(other[1].encode()))) == (one[0] == other[0])
    assert key_of(Raw(one[1].encode())) == key_of(Raw(encode(one[0])))


@given(st.integers(), st.integers())
@example(1 << 64, (1 << 64) + 1)
@example(-(10**100), 10**100)
@example(2**53, 2**53 + 1)
def test_integers_of_any_size_stay_apart(one: int, other: int) -> None:
    assert (key_of(Raw(b"%d" % one)) == key_of(Raw(b"%d" % other))) == (one == other)
    assert key_of(Raw(b"%d" % one)) != key_of(Raw(b'"%d"' % one))


def test_there_is_one_zero() -> None:
    assert key_of(Raw(b"-0")) == key_of(Raw(b"0"))


@pytest.mark.parametrize("id", [b"1.0", b"1.5", b"1e3", b"1E400", b"-0.0", b"true", b"false", b"null", b"[]", b"[1]", b"{}", b'{"a":1}', b'"\\ud800"', b"[" * 1000])
def test_other_ids_are_refused(id: bytes) -> None:
    assert bad(lambda: key_of(Raw(id))) == INVALID_REQUEST


@pytest.mark.parametrize("make", [lambda n: b"1" * n, lambda n: b"-" + b"1" * (n - 1), lambda n: b'"' + b"x" * (n - 2) + b'"'])
def test_an_id_has_a_longest(make: Callable[[int], bytes]) -> None:
    assert key_of(Raw(make(MAX_ID_BYTES))) == make(MAX_ID_BYTES)
    assert bad(lambda: key_of(Raw(make(MAX_ID_BYTES + 1)))) == INVALID_REQUEST


# --- UTF-8

@given(st.integers(0, 5), st.sampled_from([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\xe2\x80"]))
def test_bytes_that_are_no_utf8_are_refused_wherever_they_are(place: int, evil: bytes) -> None:
    parts = [b"p", b"q", b"r", b"s", b"t", b"u"]
    parts[place] += evil
    data = b'{"jsonrpc":"2.0","%b":"%b","method":"%b","params":{"%b":["%b"],"_meta":{"a":"%b"}}}' % tuple(parts)
    assert bad(lambda: Message.decode(data)) == PARSE_ERROR
    assert bad(lambda: decode_batch(b"[%b]" % data)) == PARSE_ERROR


# --- depth

@pytest.mark.parametrize("where", ["params", "id", "result", "method", "error"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_nesting_bomb_is_refused(where: str, opening: bytes) -> None:
    bomb = opening * 100_000
    other = b'"result":1' if where in ("id", "result") else b'"method":"m"'
    data = b'{"jsonrpc":"2.0",%b,"%b":%b' % (other, where.encode(), bomb)
    assert bad(lambda: Message.decode(data)) == PARSE_ERROR
    assert bad(lambda: decode_batch(b"[" + data)) == PARSE_ERROR
    assert bad(lambda: decode_batch(bomb)) in (PARSE_ERROR, INVALID_REQUEST)


def deeper(levels: int, function: Callable[[], Any]) -> Any:
    return function() if levels == 0 else deeper(levels - 1, function)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("look", [
    lambda m: m.params(), lambda m: m.meta(), lambda m: m.result(), lambda m: error_code(m), lambda m: key_of(m.id), lambda m: text_of(m.id), lambda m: m.encode(),
])
def test_what_could_just_be_decoded_does_not_overflow_deeper_in_the_stack(look: Callable[[Message], object]) -> None:
    """The depth that the decoder stands depends on the caller's: a message read near the top may be looked at further down."""
    for depth in range(5, 1200, 5):
        bomb = nested(depth)
        data = b'{"jsonrpc":"2.0","id":%b,"params":{"_meta":{"a":%b}},"result":{"x":%b}}' % (bomb, bomb, bomb)
        error = b'{"jsonrpc":"2.0","id":1,"error":{"data":%b,"code":5}}' % bomb
        try:
            messages = [Message.decode(data), Message.decode(error)]
        except BadMessage:
            return
        for message in messages:
            try:
                deeper(30, lambda message=message: look(message))  # type: ignore[misc]  # bound at once
            except BadMessage:
                continue


# --- levels

@pytest.mark.parametrize("params", [b"5", b'"x"', b"[1]", b"true"])
def test_params_must_be_an_object_if_somebody_asks(params: bytes) -> None:
    message = Message.decode(b'{"jsonrpc":"2.0","method":"m","params":%b}' % params)
    assert bad(message.params) == INVALID_PARAMS
    assert bad(message.meta) == INVALID_PARAMS
    assert raws(message.encode())["params"] == params
    assert bad(Message.decode(b'{"jsonrpc":"2.0","method":"m","params":{"_meta":%b}}' % params).meta) == INVALID_PARAMS


def test_what_is_not_there_is_empty_and_stays_so() -> None:
    message = Message.decode(b'{"jsonrpc":"2.0","method":"m"}')
    assert message.params() == message.meta() == {}
    assert message.encode() == b'{"jsonrpc":"2.0","method":"m"}'


@given(st.sampled_from(["progressToken", "a", "io.modelcontextprotocol/logLevel"]).flatmap(lambda word: st.tuples(st.just(word), spelled(word))), documents)
def test_mentions_is_never_wrong_when_it_says_no(word: tuple[str, str], value: str) -> None:
    message = Message.decode(f'{{"jsonrpc":"2.0","method":"m","params":{{"_meta":{{{word[1]}:{value}}}}}}}'.encode())
    assert message.mentions(word[0].encode())
    message.meta()
    assert message.mentions(word[0].encode())


def test_mentions_says_no() -> None:
    assert not Message.decode(b'{"jsonrpc":"2.0","method":"m"}').mentions(b"progressToken")
    assert not Message.decode(b'{"jsonrpc":"2.0","method":"m","params":{"a":1}}').mentions(b"progressToken")


# --- kinds, lines, errors

@pytest.mark.parametrize(("data", "request_", "response"), [
    (b'{"jsonrpc":"2.0","id":1,"method":"m"}', True, False),
    (b'{"jsonrpc":"2.0","method":"m"}', False, False),
    (b'{"jsonrpc":"2.0","id":1,"result":{}}', False, True),
    (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', False, True),
])
def test_kinds(data: bytes, request_: bool, response: bool) -> None:
    message = Message.decode(data)
    assert (message.is_request, message.is_response) == (request_, response)


@given(members, blanks)
def test_a_line_has_one_newline_and_the_same_meaning(given_members: dict[str, str], blank: str) -> None:
    fields = {"jsonrpc": '"2.0"', "method": '"m"', **given_members}
    data = spaced("{", [f'"{name}":{value}' for name, value in fields.items()], "}", blank).encode()
    for line in (Message.decode(data).line(), as_line(data)):
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert b"\r" not in line
        assert json.loads(line) == json.loads(data)


@pytest.mark.parametrize(("error", "code"), [
    (b'{"code":-32020,"message":"x"}', -32020), (b'{"code":1}', 1), (b'{"code":"1"}', None), (b"{}", None), (b"5", None), (b'{"code":1.5}', None),
])
def test_the_code_of_an_error(error: bytes, code: int | None) -> None:
    assert error_code(Message.decode(b'{"jsonrpc":"2.0","id":1,"error":%b}' % error)) == code
    assert error_code(Message.decode(b'{"jsonrpc":"2.0","id":1,"result":%b}' % error)) is None


def test_errors_of_our_own() -> None:
    reply = error_reply(Raw(b'"a"'), -32601, "no", {"name": "x"})
    assert json.loads(reply.encode()) == {"jsonrpc": "2.0", "id": "a", "error": {"code": -32601, "message": "no", "data": {"name": "x"}}}
    assert error_code(reply) == -32601
    assert json.loads(error_reply(None, -32700, "no").encode())["id"] is None


# --- batches

def test_a_batch_is_its_messages_in_order() -> None:
    data = b' \n[ {"jsonrpc":"2.0","id":1,"method":"a"}, {"jsonrpc":"2.0","method":"b"} ]'
    assert is_batch(data)
    assert [message.method for message in decode_batch(data)] == ["a", "b"]
    assert not is_batch(b'{"jsonrpc":"2.0","id":[],"method":"a"}')


@pytest.mark.parametrize(("data", "code"), [
    (b"[]", INVALID_REQUEST), (b"[1]", INVALID_REQUEST), (b"[[]]", INVALID_REQUEST), (b'[{"jsonrpc":"2.0","id":1,"method":"a"},{}]', INVALID_REQUEST),
    (b"[", PARSE_ERROR), (b'[{"jsonrpc":"2.0","id":1,"method":"a"},]', PARSE_ERROR), (b"{}", INVALID_REQUEST),
])
def test_what_is_no_batch(data: bytes, code: int) -> None:
    assert bad(lambda: decode_batch(data)) == code
