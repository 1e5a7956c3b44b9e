"""The header rules of Streamable HTTP, with the tables of the specification and of SEP-2243's "Conformance Test Cases"."""
from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.wire.mcp_http import NAMED, STATUS_OF_CODE, accepts, decode_value, encode_value, request_headers, shown, text_of, verdict

Headers = list[tuple[bytes, bytes]]
META = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}}}'
BASE: Headers = [(b"host", b"localhost"), (b"accept", b"application/json, text/event-stream"), (b"mcp-protocol-version", b"2026-07-28")]
CALL: Headers = [*BASE, (b"mcp-method", b"tools/call"), (b"mcp-name", b"get_weather")]


def params(meta: bytes | None = META, **members: bytes) -> dict[str, msgspec.Raw]:
    raw = {name: msgspec.Raw(value) for name, value in members.items()}
    return raw if meta is None else {**raw, "_meta": msgspec.Raw(meta)}


def judge(method: str, members: dict[str, msgspec.Raw] | None, headers: Headers) -> tuple[int, int] | None:
    """(HTTP status, code), or None for a good one."""
    error = verdict(method, members, headers)
    return None if error is None else (error.http_status, error.rpc_code)


MISMATCH = (400, -32020)
INVALID = (400, -32602)


# --- values

@pytest.mark.parametrize(("value", "field"), [
    ("us-west1", b"us-west1"),
    ("Hello, 世界", b"=?base64?SGVsbG8sIOS4lueVjA==?="),
    (" padded ", b"=?base64?IHBhZGRlZCA=?="),
    ("line1\nline2", b"=?base64?bGluZTEKbGluZTI=?="),
    ("=?base64?literal?=", b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    # SEP-2243, "Value Encoding Edge Cases", "Special Characters in Values"
    (" us-west1", b"=?base64?IHVzLXdlc3Qx?="),
    ("us-west1 ", b"=?base64?dXMtd2VzdDEg?="),
    ("us west 1", b"us west 1"),
    ("日本語", b"=?base64?5pel5pys6Kqe?="),
    ("line1\r\nline2", b"=?base64?bGluZTENCmxpbmUy?="),
    ("\tindented", b"=?base64?CWluZGVudGVk?="),
    ("", b""),
    ("my-tool_name", b"my-tool_name"),
    ("https://example.com/resource?id=123", b"https://example.com/resource?id=123"),
    ("=?base64?=", b"=?base64?PT9iYXNlNjQ/PQ==?="),  # matches the pattern by the letter of the specification
    ("=?base64?x", b"=?base64?x"),
])
def test_encoding_examples(value: str, field: bytes) -> None:
    assert encode_value(value) == field
    assert decode_value(field) == value


@pytest.mark.parametrize(("field", "value"), [
    (b"=?base64?SGVsbG8=?=", "Hello"),
    (b"  get_weather\t", "get_weather"),
    (b"a\tb", "a\tb"),
    (b"=?base64??=", ""),
    # not the sentinel: literal
    (b"SGVsbG8=", "SGVsbG8="),
    (b"=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
    (b"SGVsbG8=?=", "SGVsbG8=?="),
    (b"=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
    (b"=?base64?=", "=?base64?="),
    # malformed: padding, alphabet, bits left over, not UTF-8, characters that no field has
    (b"=?base64?SGVsbG8?=", None),
    (b"=?base64?SGVs!!!bG8=?=", None),
    (b"=?base64?SGVsbG8= ?=", None),
    (b"=?base64?SGVsbG9=?=", None),
    (b"=?base64?SGVsbG8==?=", None),
    (b"=?base64?_-__?=", None),
    (b"=?base64?/w==?=", None),
    (b"=?base64?7aCA?=", None),  # a lone surrogate
    ("Région".encode(), None),
    (b"a\nb", None),
    (b"a\0b", None),
    (b"a\x7fb", None),
])
def test_decoding_examples(field: bytes, value: str | None) -> None:
    assert decode_value(field) == value


@given(st.text(st.characters(codec="utf-8")) | st.text("=?base64 \t\r\n", max_size=16))
def test_every_value_survives_a_header(value: str) -> None:
    field = encode_value(value)
    assert all(0x20 <= byte <= 0x7E for byte in field)
    assert field == field.strip()
    assert decode_value(field) == decode_value(b" " + field + b"\t ") == value


@given(st.text("QUFBw9/+=! ", max_size=9) | st.binary(max_size=9).map(lambda value: base64.b64encode(value).decode()))
def test_a_value_has_one_wrapping(payload: str) -> None:
    """Else two readers, one strict and one not, could see two values in one field."""
    value = decode_value(f"=?base64?{payload}?=".encode())
    assert value is None or base64.b64encode(value.encode()).decode() == payload


# --- rung 1: _meta

@pytest.mark.parametrize(("meta", "named"), [
    (None, "protocolVersion"),
    (b"null", "object"),
    (b"[]", "object"),
    (b'"2026-07-28"', "object"),
    (b"{}", "protocolVersion"),
    (b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}', "clientCapabilities"),
    (b'{"io.modelcontextprotocol/clientCapabilities":{}}', "protocolVersion"),
    (b'{"io.modelcontextprotocol/protocolVersion":20260728,"io.modelcontextprotocol/clientCapabilities":{}}', "protocolVersion"),
    (b'{"io.modelcontextprotocol/protocolVersion":null,"io.modelcontextprotocol/clientCapabilities":{}}', "protocolVersion"),
    (b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":null}', "clientCapabilities"),
    (b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}', "clientCapabilities"),
    (b'{"io.modelcontextprotocol/protocolVersion":"\xff","io.modelcontextprotocol/clientCapabilities":{}}', "utf-8"),
    (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "recursion"),
])
def test_meta_must_say_version_and_capabilities(meta: bytes | None, named: str) -> None:
    error = verdict("tools/list", params(meta), [*BASE, (b"mcp-method", b"tools/list")])
    assert error is not None
    assert (error.http_status, error.rpc_code) == INVALID
    assert named in error.message


def test_meta_comes_before_headers_and_params_may_be_missing() -> None:
    assert judge("tools/list", None, []) == judge("tools/list", {}, []) == INVALID
    assert judge("tools/list", params(), []) == MISMATCH


def test_client_info_is_optional_and_escapes_are_read() -> None:
    escaped = META.replace(b"/", rb"\/")
    assert judge("tools/list", params(escaped), [*BASE, (b"mcp-method", b"tools/list")]) is None


def test_decoded_meta_counts_as_well() -> None:
    decoded = msgspec.json.decode(META, type=dict[str, msgspec.Raw])
    assert verdict("tools/list", {"_meta": decoded}, [*BASE, (b"mcp-method", b"tools/list")]) is None
    assert verdict("tools/list", {"_meta": {}}, [*BASE, (b"mcp-method", b"tools/list")]) is not None


# --- rung 2: headers

GOOD = params(name=b'"get_weather"', arguments=b'{"location":"Seattle, WA"}')


def test_the_examples_of_the_specification_pass() -> None:
    assert judge("tools/call", GOOD, CALL) is None
    uri = b"file:///projects/myapp/config.json"
    assert judge("resources/read", params(uri=b'"%b"' % uri), [*BASE, (b"mcp-method", b"resources/read"), (b"mcp-name", uri)]) is None
    assert judge("prompts/get", params(name=b'"review"'), [*BASE, (b"mcp-method", b"prompts/get"), (b"mcp-name", b"review")]) is None
    assert judge("server/discover", params(), [*BASE, (b"mcp-method", b"server/discover")]) is None


@pytest.mark.parametrize(("name", "value", "expected"), [
    (b"mcp-protocol-version", b"2025-11-25", MISMATCH),
    (b"mcp-protocol-version", b"", MISMATCH),
    (b"mcp-protocol-version", b" 2026-07-28 ", None),
    (b"mcp-method", b"prompts/get", MISMATCH),
    (b"mcp-method", b"TOOLS/CALL", MISMATCH),
    (b"mcp-method", b"  tools/call\t", None),
    (b"mcp-method", encode_value("tools/call\n"), MISMATCH),
    (b"mcp-name", b"foo", MISMATCH),
    (b"mcp-name", b"GET_WEATHER", MISMATCH),
    (b"mcp-name", b"", MISMATCH),
    (b"mcp-name", b"  get_weather  ", None),
    (b"mcp-name", b"=?base64?Z2V0X3dlYXRoZXI=?=", None),
    (b"mcp-name", b"=?base64?Z2V0X3dlYXRoZXI?=", MISMATCH),
    (b"mcp-name", b"get_weather, get_weather", MISMATCH),
])
def test_one_header_changed(name: bytes, value: bytes, expected: tuple[int, int] | None) -> None:
    assert judge("tools/call", GOOD, [(n, value if n == name else v) for n, v in CALL]) == expected


@pytest.mark.parametrize("name", [b"mcp-protocol-version", b"mcp-method", b"mcp-name"])
def test_each_header_must_be_there_once(name: bytes) -> None:
    assert judge("tools/call", GOOD, [field for field in CALL if field[0] != name]) == MISMATCH
    assert judge("tools/call", GOOD, [*CALL, *(field for field in CALL if field[0] == name)]) == MISMATCH


def test_other_headers_may_come_twice() -> None:
    assert judge("tools/call", GOOD, [*CALL, (b"accept", b"*/*"), (b"mcp-param-x", b"1"), (b"mcp-param-x", b"2")]) is None


@pytest.mark.parametrize(("body", "header", "expected"), [
    ("世界".encode(), encode_value("世界"), None),
    (rb"\u4e16\u754c", encode_value("世界"), None),
    ("世界".encode(), "世界".encode(), MISMATCH),
    (rb"a\nb", rb"a\nb", MISMATCH),                                          # a newline in the body, a backslash in the header
    (rb"a\nb", encode_value("a\nb"), None),
    (b"=?base64?QQ==?=", b"=?base64?QQ==?=", MISMATCH),                     # the header says "A"
    (b"=?base64?QQ==?=", encode_value("=?base64?QQ==?="), None),
    (b"", b"", None),
])
def test_names_are_compared_decoded(body: bytes, header: bytes, expected: tuple[int, int] | None) -> None:
    assert judge("tools/call", params(name=b'"%b"' % body), [*CALL[:-1], (b"mcp-name", header)]) == expected


@pytest.mark.parametrize(("name", "expected"), [
    (b"42", MISMATCH), (b'["get_weather"]', MISMATCH), (b'"\\ud800"', MISMATCH), (b"null", None), (None, None),
])
def test_a_body_without_a_proper_name(name: bytes | None, expected: tuple[int, int] | None) -> None:
    """Without one, the server has to refuse it for what it is; any other value than a string cannot be what the header says."""
    members = params() if name is None else params(name=name)
    assert judge("tools/call", members, CALL) == expected
    assert judge("tools/call", members, CALL[:-1]) == expected


def test_tasks_name_their_task_if_they_name_anything() -> None:
    members, headers = params(taskId=b'"t1"'), [*BASE, (b"mcp-method", b"tasks/get")]
    assert judge("tasks/get", members, headers) is None
    assert judge("tasks/get", members, [*headers, (b"mcp-name", b"t1")]) is None
    assert judge("tasks/get", members, [*headers, (b"mcp-name", b"t2")]) == MISMATCH


def test_methods_that_no_header_can_say_are_refused() -> None:
    for method in ("tools/cäll", "a\nb"):
        assert judge(method, params(), [*BASE, (b"mcp-method", method.encode())]) == MISMATCH


def test_the_message_reads_as_in_the_specification_and_is_bounded() -> None:
    error = verdict("tools/call", params(name=b'"bar"'), [*CALL[:-1], (b"mcp-name", b"foo")])
    assert error is not None
    assert error.message == "Header mismatch: Mcp-Name header value 'foo' does not match body value 'bar'"
    long = verdict("tools/call", params(name=b'"%b"' % (b"x" * 10_000)), [*CALL[:-1], (b"mcp-name", b"y" * 10_000)])
    assert long is not None
    assert len(long.message) < 400
    assert shown(b"\xff\n\xe4\xb8\x96") == r"'\ufffd\n\u4e16'"


# --- the client's side

def test_request_headers_of_the_examples() -> None:
    assert request_headers("tools/call", GOOD) == CALL[2:]
    assert request_headers("tools/list", params()) == [CALL[2], (b"mcp-method", b"tools/list")]
    assert request_headers("tasks/cancel", params(taskId=b'"\\u4e16"'))[2] == (b"mcp-name", encode_value("世"))
    own: dict[str, object] = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}, "uri": "file:///x"}
    assert request_headers("resources/read", own) == [CALL[2], (b"mcp-method", b"resources/read"), (b"mcp-name", b"file:///x")]


@pytest.mark.parametrize("members", [None, {}, params(None), params(b"[]"), params(b"{}"), params(b'{"io.modelcontextprotocol/protocolVersion":1}')])
def test_what_the_body_does_not_say_is_left_out(members: dict[str, msgspec.Raw] | None) -> None:
    assert request_headers("tools/call", members) == [(b"mcp-method", b"tools/call")]


def test_no_header_can_be_smuggled_in() -> None:
    meta = b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28\\r\\nx: y"}'
    assert request_headers("tools/list\r\nx: y", params(meta)) == []


names = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["=?base64?QQ==?=", " x ", ""])


@given(st.sampled_from(sorted(NAMED)), names)
def test_what_our_client_sends_our_server_accepts(method: str, name: str) -> None:
    members = params(**{NAMED[method]: msgspec.json.encode(name)})
    headers = request_headers(method, members)
    assert verdict(method, members, headers) is None
    other = params(**{NAMED[method]: msgspec.json.encode(name + "x")})
    assert judge(method, other, headers) == MISMATCH


def test_text_of() -> None:
    assert text_of(msgspec.Raw(b'"a\\u0062"')) == text_of("ab") == "ab"
    for value in (None, 1, msgspec.Raw(b"1"), msgspec.Raw(b'"\xff"'), b"ab"):
        assert text_of(value) is None


def test_statuses() -> None:
    assert {code for code, status in STATUS_OF_CODE.items() if status == 400} == {-32700, -32600, -32602, -32020, -32021, -32022}
    assert STATUS_OF_CODE[-32601] == 404
    assert STATUS_OF_CODE.get(-32603, 200) == 200


@pytest.mark.parametrize(("values", "accepted"), [
    ([], True), ([""], True), (["text/event-stream"], True), (["TEXT/Event-Stream ; charset=utf-8"], True), (["application/json", "text/event-stream"], True), (["*/*"], True),
    (["text/*;q=0.2"], True), (["application/json"], False), (["text/event-streams"], False), (["x-text/event-stream"], False), (["text/event-stream;q=0"], False),
    (["text/event-stream;q=0.000, */*"], False), (["text/*;q=0, */*"], False), (["*/*;q=0, text/*"], True), (["text/event-stream, text/*;q=0"], True), ([", ,"], True), (["garbage"], False),
])  # fmt: skip
def test_what_a_client_accepts(values: list[str], accepted: bool) -> None:
    fields = [(b"host", b"x"), *((b"accept", value.encode()) for value in values)]
    assert accepts(b"text/event-stream", fields) is accepted
