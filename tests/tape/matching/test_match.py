"""When two requests are the same, for any way of writing them; what a redacted value stands for."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.tape.matching.match import Matching, Wanted
from shadowproxy.wire.jsonrpc import Message

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=12)  # fmt: skip
TOKEN, OTHER = "[REDACTED:api-key:0123456789abcdef]", "[REDACTED:api-key:ffffffffffffffff]"


def wanted(params: Any, method: str = "tools/call", matching: Matching | None = None) -> Wanted:
    return (matching or Matching()).recorded(method, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())


def test_the_id_and_the_spelling_do_not_count() -> None:
    one = Message.decode(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"b":[1.50,{"c":"\\u0041"}]}}')
    two = Message.decode(b'{"params" : {"b":[15e-1, {"c" : "A"}], "a" : 1.0}, "method":"m", "id":"x", "jsonrpc":"2.0"}')
    assert Matching().live(one) == Matching().live(two)


@given(JSON)
def test_the_order_of_keys_does_not_count(value: Any) -> None:
    def turned(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: turned(one[name]) for name in reversed(list(one))}
        return [turned(item) for item in one] if isinstance(one, list) else one

    assert wanted({"arguments": value}) == wanted({"arguments": turned(value)})


@pytest.mark.parametrize(("one", "two"), [
    ({"a": 1}, {"a": True}), ({"a": 0}, {"a": False}), ({"a": 1}, {"a": "1"}), ({"a": None}, {}), ({"a": [1, 2]}, {"a": [2, 1]}),
    ({"a": {}}, {"a": []}), ({"a": 0.1}, {"a": 0.2}), ({"a": 9007199254740993}, {"a": 9007199254740992}),
])  # fmt: skip
def test_what_differs(one: Any, two: Any) -> None:
    assert wanted(one).digest != wanted(two).digest


def test_the_method_counts() -> None:
    assert wanted({}, "a").digest != wanted({}, "b").digest


def test_no_params_are_empty_params() -> None:
    bare = Matching().recorded("ping", b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert bare.digest == wanted({}, "ping").digest == wanted({"_meta": {"progressToken": 1}}, "ping").digest == wanted(None, "ping").digest


def test_who_the_client_is_does_not_count_when_it_begins() -> None:
    assert wanted({"protocolVersion": "x", "clientInfo": {"name": "a"}, "capabilities": {"roots": {}}}, "initialize").digest == wanted({"protocolVersion": "x"}, "initialize").digest
    assert wanted({"clientInfo": 1}).digest != wanted({"clientInfo": 2}).digest


def test_pointers_to_ignore() -> None:
    matching = Matching(("/params/arguments/now", "only:/params/x", "/params/list/*/id"))
    assert wanted({"arguments": {"now": 1, "q": 2}}, matching=matching).digest == wanted({"arguments": {"now": 9, "q": 2}}, matching=matching).digest
    assert wanted({"list": [{"id": 1, "a": 1}]}, matching=matching).digest == wanted({"list": [{"id": 2, "a": 1}]}, matching=matching).digest
    assert wanted({"x": 1}, "only", matching).digest == wanted({"x": 2}, "only", matching).digest
    assert wanted({"x": 1}, "other", matching).digest != wanted({"x": 2}, "other", matching).digest


@pytest.mark.parametrize("params", [b"[" * 100_000 + b"]" * 100_000, b"1e999", b"7", b'"text"'])
def test_what_cannot_be_looked_into_is_the_same_as_itself(params: bytes) -> None:
    data = b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + params + b"}"
    assert Matching().recorded("m", data) == Matching().recorded("m", data)


def test_a_token_of_an_unknown_key_stands_for_anything() -> None:
    recorded = wanted({"key": TOKEN, "q": "x"})
    matching = Matching()
    assert recorded.loose
    assert matching.equal(recorded, wanted({"key": "sk-123", "q": "x"}))
    assert matching.equal(recorded, wanted({"key": 5, "q": "x"})), "a number may have been redacted too"
    assert not matching.equal(recorded, wanted({"key": "sk-123", "q": "y"}))
    assert not matching.equal(recorded, wanted({"key": "sk-123"}))
    assert not matching.equal(recorded, wanted({"key": "sk-123", "q": "x"}, "other"))


def test_a_token_within_a_text_stands_for_its_part() -> None:
    recorded = wanted({"header": f"Bearer {TOKEN}, ok", "more": [f"{TOKEN}/{OTHER}"]})
    assert Matching().equal(recorded, wanted({"header": "Bearer a\nb, ok", "more": ["x/y"]}))
    assert not Matching().equal(recorded, wanted({"header": "Basic abc, ok", "more": ["x/y"]}))


def test_with_the_key_a_token_stands_for_its_own_secret() -> None:
    matching = Matching((), lambda data: data.replace(b"hunter2", TOKEN.encode()), lambda token, text: (token, text) == (TOKEN, "hunter2"))
    recorded = wanted({"key": TOKEN})
    live = matching.live(Message.decode(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"key":"hunter2"}}'))
    assert live.digest == recorded.digest, "found without looking at each"
    assert matching.equal(recorded, wanted({"key": "hunter2"}))
    assert not matching.equal(recorded, wanted({"key": "hunter3"}))


@given(JSON)
def test_matching_is_deterministic_and_reflexive(value: Any) -> None:
    one, two = wanted({"arguments": value}), wanted({"arguments": value})
    assert one == two
    assert Matching().equal(one, two)
