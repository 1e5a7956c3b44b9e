"""Tool arguments repeated in headers: `x-mcp-header` in a tool's schema, `Mcp-Param-*` in its calls.

In: a tool's `inputSchema`, the arguments of a call with their values raw, and header fields as ASGI has them. Out: the tool's rules, or
`InvalidTool`; the headers that a client must send; or the error that a server owes for headers that do not fit the body.

2026-07-28, basic/transports/streamable-http.mdx, "Custom Headers from Tool Parameters", and server/tools.mdx, "x-mcp-header".
Fields that no rule knows are nobody's business here: they pass.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from shadowproxy.errors import SpecError
from shadowproxy.wire.mcp_http import decode_value, encode_value, mismatch, shown

ANNOTATION: Final = "x-mcp-header"
PREFIX: Final = "Mcp-Param-"

#: JSON types that may be mirrored; `number` may not, because its text is not portable.
_TYPES: Final = ("string", "integer", "boolean")
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")  # RFC 9110, 5.6.2
_SAFE_INTEGER: Final = 2**53 - 1

#: Keywords whose value is a schema or a list of them, and those whose value is an object of schemas (2020-12, and draft-07's older ones).
#: What they hold is a schema, but not on a chain of `properties`. Data (`default`, `enum`, …) and `$ref` are not entered.
_HOLD: Final = frozenset({
    "items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "additionalProperties", "unevaluatedProperties",
    "propertyNames", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "contentSchema",
})
_HOLD_BY_NAME: Final = frozenset({"patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"})

_Path: TypeAlias = tuple[str, ...]
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


class Rule(msgspec.Struct, frozen=True):
    """One mirrored argument: its path in the arguments, its field name as said and in lower case, whether it is an integer."""

    path: _Path
    name: str
    field: bytes
    integer: bool


Rules: TypeAlias = tuple[Rule, ...]


class InvalidTool(ValueError):
    """A tool whose annotations break the rules; an HTTP client leaves it out of `tools/list`. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def tool_rules(input_schema: object) -> Rules:
    """The rules of a tool by its decoded `inputSchema`; () if it has none. Work and result are linear in the schema.

    Raises `InvalidTool` for an annotation that is no field-name token, comes twice (in any case), sits on anything but a string,
    an integer or a boolean, or anywhere but on a chain of `properties`. (streamable-http.mdx, "Schema Extension")
    """
    rules: dict[bytes, Rule] = {}
    for path, schema in _positions(input_schema):
        if ANNOTATION in schema:
            rule = _rule(path, schema)
            if rule.field in rules:
                raise InvalidTool(f"{'.'.join(rule.path)}: {ANNOTATION} is that of {'.'.join(rules[rule.field].path)} again")
            rules[rule.field] = rule
    return tuple(rules.values())


def param_headers(rules: Rules, arguments: object) -> list[tuple[bytes, bytes]]:
    """The `Mcp-Param-*` headers that an HTTP client must send with a call of the tool that `rules` are of.

    `arguments` is raw, or decoded one level. An argument that is not there, null, or not a primitive has no header.
    (streamable-http.mdx, "Client Behavior")
    """
    headers = []
    members = _members(arguments) if rules else {}
    for rule in rules:
        value = _said(rule, members)
        if value is not None:
            headers.append((rule.field, encode_value(value)))
    return headers


def param_verdict(rules: Rules, arguments: object, headers: Sequence[tuple[bytes, bytes]]) -> SpecError | None:
    """What is wrong with the `Mcp-Param-*` headers of a call, or None: -32020 with 400.

    A header must be there exactly if the argument is, once, well formed and equal once decoded; integers by value (`42.0` is `42`).
    Names in `headers` are in lower case. A level of `arguments` that was looked at is decoded in place, so that a duplicate key in it cannot
    say something else to the server. (streamable-http.mdx, "Server Behavior for Custom Headers")
    """
    if not rules:
        return None
    fields = dict(headers)
    names = [name for name, _ in headers] if len(fields) != len(headers) else ()
    members = _members(arguments)
    for rule in rules:
        if names and names.count(rule.field) > 1:
            return mismatch(f"the {rule.name} header appears more than once")
        fault = _fault(rule, _said(rule, members), fields.get(rule.field))
        if fault is not None:
            return mismatch(fault)
    return None


def _fault(rule: Rule, said: str | None, header: bytes | None) -> str | None:
    if header is None:
        return None if said is None else f"the {rule.name} header is missing"
    if said is None:
        return f"the {rule.name} header is there, but nothing of that kind at {'.'.join(rule.path)} in the arguments"
    value = decode_value(header)
    if value is None:
        return f"the {rule.name} header is malformed"
    if value == said or (rule.integer and _decimal(value) == said):
        return None
    return f"{rule.name} header value {shown(header)} does not match body value {shown(said.encode())}"


# --- the schema

def _positions(root: object) -> Iterator[tuple[_Path | None, Mapping[str, object]]]:
    """Every schema within a schema, outermost first, with its chain of `properties`; None for the path off that chain."""
    found: list[tuple[_Path | None, object]] = [((), root)]
    for path, schema in found:  # grows as it is read
        if not isinstance(schema, Mapping):
            continue
        yield path, schema
        for keyword, value in schema.items():
            if keyword == "properties" and isinstance(value, Mapping):
                found.extend((None if path is None else (*path, name), inner) for name, inner in value.items())
            elif keyword in _HOLD:
                found.extend((None, inner) for inner in (value if isinstance(value, list) else [value]))
            elif keyword in _HOLD_BY_NAME and isinstance(value, Mapping):
                found.extend((None, inner) for inner in value.values())


def _rule(path: _Path | None, schema: Mapping[str, object]) -> Rule:
    if not path:
        raise InvalidTool(f"{ANNOTATION} must be on a property that a chain of `properties` leads to")
    token, kind, where = schema[ANNOTATION], schema.get("type"), ".".join(path)
    if not isinstance(token, str) or not token or not _TOKEN.issuperset(token):
        raise InvalidTool(f"{where}: {ANNOTATION} must be a field-name token (RFC 9110, 5.1)")
    if kind not in _TYPES:
        raise InvalidTool(f"{where}: {ANNOTATION} must be on one of {', '.join(_TYPES)}")
    return Rule(path, PREFIX + token, (PREFIX + token).lower().encode(), kind == "integer")


# --- the arguments

def _members(level: object) -> Mapping[str, object]:
    """The members of a level, raw or decoded; none if it is not an object."""
    if isinstance(level, msgspec.Raw):
        try:
            return _decode_object(level)
        except (ValueError, RecursionError):
            return {}
    return level if isinstance(level, Mapping) else {}


def _said(rule: Rule, members: Mapping[str, object]) -> str | None:
    """The argument of a rule as text; None if there is nothing that a header could carry."""
    *chain, last = rule.path
    for name in chain:
        inner = _members(members.get(name))
        if inner and isinstance(members, dict):
            members[name] = inner
        members = inner
    value = members.get(last)
    return None if value is None else _text(bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value), rule.integer)


def _text(value: bytes, integer: bool) -> str | None:
    """JSON to a header's text: strings as they are, true and false, numbers as the body spells them but integers in decimal."""
    if value.startswith(b'"'):
        try:
            return _decode_text(value)
        except ValueError:
            return None
    if value in (b"true", b"false"):
        return value.decode()
    if value == b"null" or value.startswith((b"{", b"[")):
        return None
    text = value.decode()
    return (_decimal(text) or _scientific(text) or text) if integer else text


def _decimal(text: str) -> str | None:
    """An integer in the one spelling that can be compared: no fraction of zeros, no leading zeros; None for anything else.

    By hand: exact at any size, and linear, where `int` and an expression with two greedy runs of digits are not.
    """
    whole, dot, fraction = text.partition(".")
    digits = whole.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (dot and not fraction) or fraction.strip("0"):
        return None
    digits = digits.lstrip("0") or "0"
    return f"-{digits}" if whole.startswith("-") and digits != "0" else digits


def _scientific(text: str) -> str | None:
    """An integer that the body spells with an exponent, if it is in the safe range."""
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) <= _SAFE_INTEGER else None
