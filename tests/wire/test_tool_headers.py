"""`x-mcp-header` and `Mcp-Param-*`: the specification's constraints, and SEP-2243's tables of edge cases."""
from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.wire.mcp_http import encode_value
from shadowproxy.wire.tool_headers import InvalidTool, Rule, Rules, param_headers, param_verdict, tool_rules

Headers = list[tuple[bytes, bytes]]


def annotated(kind: object = "string", header: object = "Region") -> dict[str, object]:
    return {"type": kind, "x-mcp-header": header}


def schema(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


RULES = tool_rules(schema(region=annotated(), count=annotated("integer", "Count"), flag=annotated("boolean", "Flag"), query={"type": "string"}))


def judge(arguments: bytes | None, headers: Headers, rules: Rules = RULES) -> tuple[int, int] | None:
    error = param_verdict(rules, None if arguments is None else msgspec.Raw(arguments), headers)
    return None if error is None else (error.http_status, error.rpc_code)


MISMATCH = (400, -32020)


# --- schemas

def test_the_example_of_the_specification() -> None:
    tool = schema(region={"type": "string", "description": "The region", "x-mcp-header": "Region"}, query={"type": "string"})
    rules = tool_rules(tool)
    assert rules == (Rule(("region",), "Mcp-Param-Region", b"mcp-param-region", False),)
    arguments = msgspec.Raw(b'{"region":"us-west1","query":"SELECT * FROM users"}')
    assert param_headers(rules, arguments) == [(b"mcp-param-region", b"us-west1")]
    assert param_verdict(rules, arguments, [(b"mcp-param-region", b"us-west1")]) is None


@pytest.mark.parametrize("tool", [
    None, True, [], {}, {"type": "object"}, schema(a={"type": "string"}), schema(a=True),
    {"default": annotated("number", "")}, {"examples": [annotated()], "const": annotated(), "enum": [annotated()]},  # data, not schemas
    schema(**{"x-mcp-header": {"type": "string"}}),                                                                # a property of that name
    {"properties": [annotated()]}, {"$ref": "#/$defs/x"},
])
def test_schemas_without_rules(tool: object) -> None:
    assert tool_rules(tool) == ()


def test_nested_properties_are_reached() -> None:
    rules = tool_rules(schema(where=schema(region=annotated(), zone=schema(name=annotated("string", "Zone"))), Method=annotated("boolean", "Method")))
    assert [(rule.path, rule.name) for rule in rules] == [
        (("Method",), "Mcp-Param-Method"), (("where", "region"), "Mcp-Param-Region"), (("where", "zone", "name"), "Mcp-Param-Zone"),
    ]
    arguments = msgspec.Raw(b'{"where":{"region":"eu","zone":{"name":null}}, "Method": false}')
    assert param_headers(rules, arguments) == [(b"mcp-param-method", b"false"), (b"mcp-param-region", b"eu")]


@pytest.mark.parametrize("header", ["", "My Region", "Region:Primary", "Région", "Region\t1", "a\r\nb", "a\0", 7, None, ["Region"], {}])
def test_a_header_name_must_be_a_token(header: object) -> None:
    with pytest.raises(InvalidTool, match="token"):
        tool_rules(schema(a=annotated("string", header)))


@pytest.mark.parametrize("kind", ["number", "array", "object", "null", ["string"], ["string", "null"], None, 1])
def test_only_primitives_are_mirrored(kind: object) -> None:
    with pytest.raises(InvalidTool, match="string, integer, boolean"):
        tool_rules(schema(a=annotated(kind)))
    with pytest.raises(InvalidTool):
        tool_rules(schema(a={"x-mcp-header": "Region"}))


@pytest.mark.parametrize("other", ["Region", "REGION", "region"])
def test_names_are_unique_in_any_case(other: str) -> None:
    with pytest.raises(InvalidTool, match=r"b\.c: .* a again") as caught:
        tool_rules(schema(a=annotated(), b=schema(c=annotated("string", other))))
    assert caught.value.reason == str(caught.value)


@pytest.mark.parametrize("tool", [
    annotated(),
    *({keyword: annotated()} for keyword in ("items", "contains", "additionalProperties", "propertyNames", "contentSchema")),
    *({keyword: annotated()} for keyword in ("not", "if", "then", "else")),
    *({keyword: [{}, annotated()]} for keyword in ("allOf", "anyOf", "oneOf", "prefixItems", "items")),
    *({keyword: {"a": annotated()}} for keyword in ("patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions")),
    {"unevaluatedItems": annotated()}, {"unevaluatedProperties": annotated()}, {"additionalItems": annotated()},
    {"items": schema(a=annotated())}, {"anyOf": [schema(a=annotated())]}, schema(a={"allOf": [schema(b=annotated())]}),
])
def test_only_a_chain_of_properties_is_reached(tool: object) -> None:
    with pytest.raises(InvalidTool, match="chain"):
        tool_rules(tool)


def test_deep_schemas_are_survived() -> None:
    tool: dict[str, object] = annotated()
    for _ in range(2000):
        tool = schema(a=tool)
    assert len(tool_rules(tool)[0].path) == 2000


# --- the client's side

@pytest.mark.parametrize(("value", "field"), [
    (b'"us-west1"', b"us-west1"),
    (b'" padded "', b"=?base64?IHBhZGRlZCA=?="),
    (b'"\\u65e5\\u672c\\u8a9e"', b"=?base64?5pel5pys6Kqe?="),
    (b'"line1\\nline2"', b"=?base64?bGluZTEKbGluZTI=?="),
    (b'""', b""),
    (b"true", b"true"),
    (b"false", b"false"),
    (b"42", b"42"),
    (b"3.14159", b"3.14159"),
    (b"null", None),
    (b"{}", None),
    (b'["us-west1"]', None),
    (b'"\\ud800"', None),
    (b'"\xff"', None),
])
def test_values_by_their_own_type(value: bytes, field: bytes | None) -> None:
    expected = [] if field is None else [(b"mcp-param-region", field)]
    assert param_headers(RULES, msgspec.Raw(b'{"region":%b}' % value)) == expected


@pytest.mark.parametrize(("value", "field"), [
    (b"42", b"42"), (b"-7", b"-7"), (b"0", b"0"), (b"-0", b"0"), (b"42.0", b"42"), (b"-0.00", b"0"), (b"4.2e1", b"42"), (b"1E+3", b"1000"),
    (b"9007199254740991", b"9007199254740991"), (b"123456789012345678901234567890", b"123456789012345678901234567890"),
    (b"9e99", b"9e99"), (b"1e400", b"1e400"), (b"1.5", b"1.5"), (b"1.5e0", b"1.5e0"), (b'"42"', b"42"), (b"9" * 5000, b"9" * 5000),
])
def test_integers(value: bytes, field: bytes) -> None:
    assert param_headers(RULES, msgspec.Raw(b'{"count":%b}' % value)) == [(b"mcp-param-count", field)]


@pytest.mark.parametrize("arguments", [None, msgspec.Raw(b"null"), msgspec.Raw(b"[]"), msgspec.Raw(b"{}"), msgspec.Raw(b'"region"'), {}, 3])
def test_nothing_is_sent_for_nothing(arguments: object) -> None:
    assert param_headers(RULES, arguments) == []
    assert param_verdict(RULES, arguments, []) is None
    assert param_verdict(RULES, arguments, [(b"mcp-param-region", b"x")]) is not None


def test_decoded_arguments_count_as_well() -> None:
    decoded = {"region": msgspec.Raw(b'"eu"'), "count": 42, "flag": None}
    assert param_headers(RULES, decoded) == [(b"mcp-param-region", b"eu"), (b"mcp-param-count", b"42")]
    assert param_headers(RULES, {"region": "eu", "flag": True}) == [(b"mcp-param-region", b"eu"), (b"mcp-param-flag", b"true")]


# --- the server's side

@pytest.mark.parametrize(("body", "header", "expected"), [
    (b'"Hello"', b"=?base64?SGVsbG8=?=", None),
    (b'"Hello"', b"=?base64?SGVsbG8?=", MISMATCH),
    (b'"Hello"', b"=?base64?SGVs!!!bG8=?=", MISMATCH),
    (b'"SGVsbG8="', b"SGVsbG8=", None),
    (b'"=?base64?SGVsbG8="', b"=?base64?SGVsbG8=", None),
    (b'"=?BASE64?SGVsbG8=?="', b"=?BASE64?SGVsbG8=?=", None),
    (b'"us-west1"', b" us-west1\t", None),
    (b'"us-west1"', b"us-east1", MISMATCH),
    (b'"us-west1"', None, MISMATCH),
    (b"null", None, None),
    (b"null", b"null", MISMATCH),
    (b"null", b"", MISMATCH),
    (b"{}", b"{}", MISMATCH),
    (b"{}", None, None),
    (b'""', b"", None),
    (b'""', None, MISMATCH),
    (b'"R\xc3\xa9gion"', b"R\xc3\xa9gion", MISMATCH),
    (b"42", b"42.0", MISMATCH),  # declared a string: compared as text
])
def test_a_string(body: bytes, header: bytes | None, expected: tuple[int, int] | None) -> None:
    headers = [] if header is None else [(b"mcp-param-region", header)]
    assert judge(b'{"region":%b,"query":"x"}' % body, headers) == expected


@pytest.mark.parametrize(("body", "header", "expected"), [
    (b"42", b"42", None), (b"42", b"42.0", None), (b"42.0", b"42", None), (b"42.000", b"042.0", None), (b"-0", b"0", None), (b"0", b"-0.0", None),
    (b"4.2e1", b"42", None), (b"42", b"4.2e1", MISMATCH), (b"42", b"42.5", MISMATCH), (b"42", b"-42", MISMATCH), (b"42", b"42.", MISMATCH),
    (b"42", b"+42", MISMATCH), (b"42", b"4_2", MISMATCH), (b"42", b"0x2a", MISMATCH), (b"42", b"", MISMATCH), (b"42", b"-", MISMATCH),
    (b"9007199254740993", b"9007199254740992", MISMATCH),  # equal as floats, and not equal
    (b"9007199254740993", b"9007199254740993.0", None), (b"true", b"1", MISMATCH), (b"42", b"=?base64?NDI=?=", None),
    (b"1", b"0" * 30_000 + b"1", None), (b"1", b"0" * 30_000 + b"x", MISMATCH), (b"9" * 5000, b"9" * 5000, None),
])
def test_an_integer(body: bytes, header: bytes, expected: tuple[int, int] | None) -> None:
    assert judge(b'{"count":%b}' % body, [(b"mcp-param-count", header)]) == expected


def test_a_boolean() -> None:
    assert judge(b'{"flag":true}', [(b"mcp-param-flag", b"true")]) is None
    assert judge(b'{"flag":true}', [(b"mcp-param-flag", b"True")]) == MISMATCH
    assert judge(b'{"flag":false}', [(b"mcp-param-flag", b"true")]) == MISMATCH


def test_a_header_comes_once_and_unknown_ones_are_nobodys_business() -> None:
    good = [(b"mcp-param-region", b"eu")]
    assert judge(b'{"region":"eu"}', [*good, (b"mcp-param-other", b"1"), (b"mcp-param-other", b"2"), (b"accept", b"a"), (b"accept", b"b")]) is None
    assert judge(b'{"region":"eu"}', good * 2) == MISMATCH
    assert judge(b'{"region":"eu"}', good * 2, ()) is None


def test_arguments_that_cannot_be_read_have_no_values() -> None:
    assert judge(b'{"region":' + b"[" * 5000 + b"]" * 5000 + b"}", [(b"mcp-param-region", b"eu")]) == MISMATCH
    assert judge(None, []) is None


def test_messages_say_what_is_wrong_and_are_bounded() -> None:
    for arguments, value, words in (
        (b'{"region":"eu"}', None, "the Mcp-Param-Region header is missing"),
        (b"{}", b"eu", "nothing of that kind at region"),
        (b'{"region":"eu"}', b"\xff", "malformed"),
        (b'{"region":"%b"}' % (b"x" * 10_000), b"y" * 10_000, "Mcp-Param-Region header value 'yyy"),
    ):
        error = param_verdict(RULES, msgspec.Raw(arguments), [] if value is None else [(b"mcp-param-region", value)])
        assert error is not None
        assert words in error.message
        assert len(error.message) < 400


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.fixed_dictionaries({}, optional={"region": scalars, "count": scalars, "flag": scalars, "query": scalars}), st.data())
def test_what_our_client_sends_our_server_accepts(arguments: dict[str, object], data: st.DataObject) -> None:
    raw = msgspec.Raw(msgspec.json.encode(arguments))
    headers = param_headers(RULES, raw)
    assert len(headers) == sum(arguments.get(name) is not None for name in ("region", "count", "flag"))
    assert param_verdict(RULES, raw, headers) is None
    if headers:
        victim = data.draw(st.sampled_from(headers))
        others = [header for header in headers if header is not victim]
        assert param_verdict(RULES, raw, others) is not None
        assert param_verdict(RULES, raw, [*others, (victim[0], encode_value("something else"))]) is not None
