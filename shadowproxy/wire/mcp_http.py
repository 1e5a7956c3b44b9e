"""The header rules of Streamable HTTP in the modern era: what a request's headers must say about its body.

In: a method, its `params` with their values raw, and header fields as ASGI has them (names in lower case). Out: the error that the
specification demands, or None; and the way round, the headers that a client must send.

2026-07-28, basic/transports/streamable-http.mdx, "Request Metadata", and basic/index.mdx, "_meta". The rules per tool
(`Mcp-Param-*`) are in `tool_headers`. A proxy in front of a stdio server owes its clients these checks; the body stays the truth.
"""
from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from shadowproxy.errors import SpecError
from shadowproxy.wire.eras import HEADER_MISMATCH, META_CAPABILITIES, META_VERSION

PROTOCOL_VERSION: Final = b"mcp-protocol-version"
METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"

#: What the peer sees a field called in an error.
_SPELLED: Final = {PROTOCOL_VERSION: "MCP-Protocol-Version", METHOD: "Mcp-Method", NAME: "Mcp-Name"}

#: method -> the member of its `params` that `Mcp-Name` repeats. The last three: seps/2663-tasks-extension.md, "Routing Headers".
NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}

INVALID_PARAMS: Final = -32602

#: JSON-RPC error code -> HTTP status of a modern response that is a single JSON object; 200 for all others. -32602 is 400 whoever
#: made it: the specification demands it for missing `_meta` and leaves the rest open, and clients of both SDKs read such a body.
STATUS_OF_CODE: Final = {-32700: 400, -32600: 400, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32601: 404}

_PREFIX: Final = "=?base64?"
_SUFFIX: Final = "?="
_OWS: Final = b" \t"
_NEVER: Final = re.compile(rb"q=0(\.0*)?")


class _Object(msgspec.Struct, gc=False):
    """Any JSON object; its members are skipped."""


class _Envelope(msgspec.Struct, gc=False):
    version: str = msgspec.field(name=META_VERSION)
    capabilities: _Object = msgspec.field(name=META_CAPABILITIES)


class _Version(msgspec.Struct, gc=False):
    version: str = msgspec.field(default="", name=META_VERSION)


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_version: Final = msgspec.json.Decoder(_Version).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def accepts(kind: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the client takes `kind`: by its name or a wildcard, the narrower deciding; without a word on it, everything (RFC 9110, 12.5.1)."""
    asked: dict[bytes, bool] = {}
    for part in b",".join([value for name, value in headers if name == b"accept"]).lower().split(b","):
        range, *parameters = [piece.strip(b" \t") for piece in part.split(b";")]
        if range:
            asked[range] = asked.get(range, False) or not any(_NEVER.fullmatch(parameter) for parameter in parameters)
    ranges = (kind, kind.partition(b"/")[0] + b"/*", b"*/*")
    return next((asked[range] for range in ranges if range in asked), not asked)


def encode_value(value: str) -> bytes:
    """`value` as `Mcp-Name` and `Mcp-Param-*` carry it: as it is if it survives a header field, else in the base64 sentinel.

    A tab is wrapped too: legal inside a field, but some intermediaries touch it. Raises UnicodeEncodeError for a lone surrogate.
    (streamable-http.mdx, "Value Encoding")
    """
    if _is_plain(value) and not (value.startswith(_PREFIX) and value.endswith(_SUFFIX)):
        return value.encode()
    return b"=?base64?%b?=" % b2a_base64(value.encode(), newline=False)


def decode_value(value: bytes) -> str | None:
    """What a field's value says, without the whitespace around it; None if it is malformed.

    Malformed are characters that no field may have, and a sentinel around anything but canonical base64 of UTF-8. Without the
    exact prefix and suffix, and room for both, a value is literal. (streamable-http.mdx, "Value Encoding")
    """
    try:
        text = value.strip(_OWS).decode("ascii")
    except UnicodeDecodeError:
        return None
    if not text.isprintable() and not text.replace("\t", "").isprintable():
        return None
    if text.startswith(_PREFIX) and text.endswith(_SUFFIX) and len(text) >= len(_PREFIX) + len(_SUFFIX):
        return _unwrap(text[len(_PREFIX) : -len(_SUFFIX)].encode())
    return text


def verdict(message_method: str, params: Mapping[str, object] | None, headers: Sequence[tuple[bytes, bytes]]) -> SpecError | None:
    """What is wrong with a modern request on HTTP, or None.

    `params` has raw values (`_meta` may be decoded); the names in `headers` are in lower case. In this order: `_meta` is an object with
    a version (string) and the client's capabilities (object), else -32602; the routing headers come once each, are there, and say what
    the body says, else -32020; all with 400. Whether the version is served and the method exists is asked afterwards, by others.
    For requests only: headers of notifications are undefined. (basic/index.mdx, "_meta"; streamable-http.mdx, "Server Validation")
    """
    try:
        version = _decode_envelope(_raw(params and params.get("_meta"))).version
    except (ValueError, RecursionError) as error:
        return SpecError(400, INVALID_PARAMS, f"Invalid params: _meta of a request must say version and capabilities: {error}")
    fields = dict(headers)
    if len(fields) != len(headers) and (repeated := _repeated(headers)) is not None:
        return mismatch(f"the {_SPELLED[repeated]} header appears more than once")
    if _differs(fields.get(PROTOCOL_VERSION), version):
        return _disagreement(PROTOCOL_VERSION, fields.get(PROTOCOL_VERSION), version)
    if _differs(fields.get(METHOD), message_method):
        return _disagreement(METHOD, fields.get(METHOD), message_method)
    member = NAMED.get(message_method)
    return None if member is None or params is None else _name_verdict(message_method, params.get(member), fields.get(NAME))


def request_headers(method: str, params: Mapping[str, object] | None) -> list[tuple[bytes, bytes]]:
    """The headers that an HTTP client must send with a modern message: version, method and, for the methods in `NAMED`, the name.

    What the body does not say, or no header can (a method with a newline), is left out: the server will refuse the message.
    (streamable-http.mdx, "Standard Request Headers")
    """
    headers = []
    try:
        version = _decode_version(_raw(params and params.get("_meta"))).version
    except (ValueError, RecursionError):
        version = ""
    if version and _is_plain(version):
        headers.append((PROTOCOL_VERSION, version.encode()))
    if _is_plain(method):
        headers.append((METHOD, method.encode()))
    member = NAMED.get(method)
    name = None if member is None or params is None else text_of(params.get(member))
    if name is not None:
        headers.append((NAME, encode_value(name)))
    return headers


def mismatch(what: str) -> SpecError:
    """The error for headers that do not say what the body says (HeaderMismatch)."""
    return SpecError(400, HEADER_MISMATCH, f"Header mismatch: {what}")


def text_of(value: object) -> str | None:
    """The string that a value is, raw or decoded; None if it is something else."""
    if isinstance(value, msgspec.Raw):
        try:
            return _decode_text(value)
        except ValueError:
            return None
    return value if isinstance(value, str) else None


def _name_verdict(method: str, value: object, header: bytes | None) -> SpecError | None:
    if value is None or (header is None and method.startswith("tasks/")):
        return None  # without a name the server refuses it; and to demand the header is the extension's business, not the core's
    name = text_of(value)
    if name is None and isinstance(value, msgspec.Raw) and bytes(value) == b"null":
        return None
    if header is not None and name is not None and decode_value(header) == name:
        return None
    return _disagreement(NAME, header, name if name is not None else "(not a string)")


def _differs(header: bytes | None, said: str) -> bool:
    """Whether a header that knows no encoding fails to be there and to say the same."""
    if header is None or not said.isascii() or not said.isprintable():
        return True
    value = said.encode()
    return header != value and header.strip(_OWS) != value


def _disagreement(name: bytes, header: bytes | None, said: str) -> SpecError:
    if header is None:
        return mismatch(f"the {_SPELLED[name]} header is missing")
    return mismatch(f"{_SPELLED[name]} header value {shown(header)} does not match body value {shown(said.encode(errors='replace'))}")


def shown(value: bytes) -> str:
    """A peer's value for a message: in ASCII, quoted, and not all of a long one."""
    return ascii(value[:100].decode("utf-8", "replace"))


def _repeated(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The first routing header that comes twice: readers of the first and of the last copy would disagree."""
    names = [name for name, _ in headers]
    return next((name for name in _SPELLED if names.count(name) > 1), None)


def _raw(level: object) -> bytes | msgspec.Raw:
    """A level in JSON, whether somebody decoded it before or not. What is not there has no members."""
    if isinstance(level, msgspec.Raw):
        return level
    return b"{}" if level is None else msgspec.json.encode(level)


def _is_plain(value: str) -> bool:
    """Whether a header field carries this as it is: 0x20 to 0x7E, no space at either end."""
    return value.isascii() and value.isprintable() and value == value.strip(" ")


def _unwrap(payload: bytes) -> str | None:
    try:
        decoded = a2b_base64(payload)
        # Only the one spelling that an encoder makes: stray characters and loose trailing bits are skipped by the decoder.
        return decoded.decode() if b2a_base64(decoded, newline=False) == payload else None
    except (Error, UnicodeDecodeError):
        return None
