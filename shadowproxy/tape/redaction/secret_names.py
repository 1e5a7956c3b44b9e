"""Names whose values are secret, wherever they name something: a JSON member, a header field, a variable. Pure data and its one question.

A name counts by its end, so that `GITHUB_TOKEN`, `dbPassword` and `x-api-key` need no entries of their own.
"""
from __future__ import annotations

import re
from typing import Final

GAPS: Final = "[-_ .]"
GAP: Final = f"{GAPS}?"
"""What may stand between the words of a name."""
_RULES: Final = {
    "pass word": "password", "pass wd": "password", "pwd": "password", "pass phrase": "passphrase", "pass code": "passcode", "secret key": "secret-key", "secret": "secret",
    "token": "token", "api key": "api-key", "private key": "private-key", "access key": "access-key", "auth key": "auth-key", "encryption key": "encryption-key",
    "signing key": "signing-key", "master key": "master-key", "account key": "account-key", "authorization": "authorization", "cookie": "cookie",
    "credential": "credential", "request state": "request-state", "mcp-session-id": "session",
}  # fmt: skip
NAME: Final = f"(?:{'|'.join(words.replace(' ', GAP) for words in _RULES)})"
ENDS: Final = rf"ken|kie|key|pass{GAP}(?:word|wd|phrase|code)|pwd|p-session-id|cret(?:{GAP}key)?|credential|quest{GAP}state|zation"
"""What names are from the letter on that `suspicion.py` looks for."""
_KEYS: Final = [words for words in _RULES if words.endswith(" key")]
KEYS: Final = "|".join(f"(?<={words.replace(' ', '')})|(?<={words.replace(' ', GAPS)})" for words in _KEYS)
"""What stands before the end of a key that is secret."""
LENGTH: Final = 64
"""Characters at the end of a name that are looked at."""
_SECRET: Final = re.compile(rf"({NAME})s?{GAP}[0-9]{{0,3}}\Z")
_SPARED: Final = re.compile(rf"(?:(?:progress|page|next|continuation|cancellation){GAP}token|tokens){GAP}[0-9]{{0,3}}\Z")
"""Tokens that open nothing: they tell progress and pages, or count the words of a language model."""
_GAPS: Final = re.compile(GAPS)

HARMLESS_HEADERS: Final = frozenset((
    "accept", "accept-encoding", "accept-language", "accept-ranges", "access-control-allow-credentials", "access-control-allow-headers",
    "access-control-allow-methods", "access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "age", "allow", "cache-control",
    "connection", "content-encoding", "content-language", "content-length", "content-type", "date", "expect", "host", "keep-alive", "last-event-id",
    "mcp-method", "mcp-name", "mcp-protocol-version", "origin", "pragma", "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "vary", "via", "www-authenticate", "x-accel-buffering",
))
"""The header fields that a tape shows; of any other only that it was there, and whether it was the same."""

SCHEMA_WORDS: Final = frozenset((
    "$anchor", "$comment", "$id", "$ref", "$schema", "contentEncoding", "contentMediaType", "description", "exclusiveMaximum", "exclusiveMinimum",
    "format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern",
    "required", "title", "type", "x-mcp-header",
))
"""Members of a JSON schema that describe a value and are none. `default`, `const`, `enum` and `examples` are values."""
SCHEMA_TYPES: Final = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
SCHEMA_SIGNS: Final = frozenset(("$ref", "allOf", "anyOf", "oneOf"))


def squeezed(name: str) -> str:
    """A name without case and gaps, as configured names are compared."""
    return _GAPS.sub("", name.lower())


_BY_SQUEEZED: Final = {squeezed(words): rule for words, rule in _RULES.items()}


def secret_name(name: str) -> str | None:
    """The rule that makes this name's value a secret."""
    found = secret_end(name[-LENGTH:])
    return None if found is None else found[1]


def secret_end(text: str) -> tuple[int, str] | None:
    """Where the name of secrets begins that a text ends with, and its rule."""
    lowered = text.lower()
    found = _SECRET.search(lowered)
    return None if found is None or _SPARED.search(lowered) else (found.start(), _BY_SQUEEZED[squeezed(found[1])])
