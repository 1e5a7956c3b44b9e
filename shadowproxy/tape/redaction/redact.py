"""Redaction, before a frame is written: secrets become tokens, `[REDACTED:rule:16 hex digits]`; equal secrets, equal tokens, by one key.

In: frames, messages, texts. Out: the same without secrets; what is no secret stays byte for byte. Redacting twice changes nothing more.
Pure code, and cheap where nothing is secret. What counts as secret: `redaction.py` (settings), `secret_names.py`, `secret_shapes.py`, `secret_prose.py`.
"""
from __future__ import annotations

import hmac
import re
from typing import Any, Final

import msgspec

from shadowproxy.tape.frame import Frame, Header, Http, Sse
from shadowproxy.tape.redaction.redaction import DEFAULT, Redaction
from shadowproxy.tape.redaction.redaction_key import default_key
from shadowproxy.tape.redaction.secret_finder import Finder
from shadowproxy.tape.redaction.secret_names import HARMLESS_HEADERS
from shadowproxy.tape.redaction.secret_shapes import TOKEN
from shadowproxy.tape.redaction.secret_walk import Secret
from shadowproxy.wire.jsonrpc import Raw, decode_object, encode

__all__ = ["DEFAULT", "Redaction", "Redactor", "default_key", "is_token"]

Fields = tuple[tuple[str, str], ...]
FIELDS_KNOWN: Final = 1024
FIELD_LENGTH: Final = 4096
"""Header fields of up to this many characters are remembered, this many of them."""
AND: Final = "+"
"""Between the fingerprints of a tape on which tokens of several keys are: it has the same as no key, so tokens are not taken for comparable."""
_UNNAMED: Final = re.compile("[^a-z0-9-]")


def is_token(text: str) -> bool:
    """Whether it stands for a secret."""
    return TOKEN.fullmatch(text) is not None


class Redactor:
    """A policy and a key. `fingerprint` tells keys apart without telling them."""

    def __init__(self, redaction: Redaction, key: bytes) -> None:
        self._key = key
        self._off = redaction.off
        self._finder = Finder(redaction)
        self._headers = HARMLESS_HEADERS | {name.lower() for name in redaction.headers}
        self._every_header = "header" in redaction.without
        self._fields_known: dict[tuple[str, str], tuple[tuple[str, str], set[str]]] | None = None if redaction.callables else {}
        self.name = "none" if redaction.off else redaction.name
        self.fingerprint = hmac.digest(key, b"shadowproxy tape redaction", "sha256").hex()[:16]

    def message(self, data: bytes) -> bytes:
        """A message, or any other JSON."""
        return self._json(data, set())

    def text(self, text: str) -> str:
        return self._text(text, "text", set())

    def stands_for(self, token: str, text: str) -> bool:
        """Whether this token, of whatever rule, was made of this text by this key."""
        return token.rpartition(":")[2] == self._token("", text).rpartition(":")[2]

    def header(self, header: Header) -> Header:
        """A tape's first line, with what it says of the policy."""
        rules: set[str] = set()
        server = None if header.server is None else Raw(self._json(bytes(header.server), rules))
        upstream = self._text(header.upstream, "upstream", rules)
        return msgspec.structs.replace(header, upstream=upstream, server=server, redaction=self.name, key=None if self._off else self._with_key(header.key))

    def _with_key(self, before: str | None) -> str:
        """The fingerprints of all keys that there may be tokens of, when this one is used as well."""
        keys = [] if before is None else before.split(AND)
        return AND.join(keys if self.fingerprint in keys else [*keys, self.fingerprint])

    def needs_look(self, data: bytes) -> bool:
        """Whether a message may hold a secret; False is certain, and cheap."""
        return not self._off and self._finder.needs_look(data)

    def frame(self, frame: Frame) -> Frame:
        """`redacted` of the result names the rules that found something."""
        if self._off:
            return frame
        rules: set[str] = set()
        changes: dict[str, Any] = {}
        if frame.message is not None:
            data = bytes(frame.message)
            clean = self._json(data, rules)
            if clean is not data:
                changes = {"message": Raw(clean), **_copies(frame, clean)}
        self._members(frame, changes, rules)
        if not rules:
            return frame
        return msgspec.structs.replace(frame, **changes, redacted=tuple(sorted(rules.union(frame.redacted))))

    def _members(self, frame: Frame, changes: dict[str, Any], rules: set[str]) -> None:
        """What a frame says beside its message."""
        for name, raw in (("id", frame.id), ("token", frame.token)):
            if raw is not None and name not in changes and bytes(raw)[:1] == b'"':
                changes[name] = Raw(self._json(bytes(raw), rules))
        method = frame.method if frame.message is None else None  # else it is the message's
        for name, text in (("session", frame.session), ("method", method), ("error", frame.error), ("text", frame.text)):
            if text is not None:
                changes[name] = self._text(text, name, rules)
        if frame.http is not None and frame.http.headers:
            changes["http"] = Http(frame.http.method, frame.http.status, self._fields(frame.http.headers, rules))
        if frame.sse is not None:
            changes["sse"] = self._sse(frame.sse, rules)

    def _sse(self, sse: Sse, rules: set[str]) -> Sse:
        id, event, data, comment = (None if text is None else self._text(text, "sse", rules) for text in (sse.id, sse.event, sse.data, sse.comment))
        return Sse(id, event, sse.retry, data, comment)

    def _fields(self, fields: Fields, rules: set[str]) -> Fields:
        """Harmless fields are shown, as far as they hold no secret; of others only that they were there, and whether they were the same.
        Most come again with every message, so what became of a field is remembered."""
        known = self._fields_known
        found = []
        for field in fields:
            entry = None if known is None else known.get(field)
            if entry is None:
                own: set[str] = set()
                entry = (field[0], self._field(field[0].lower(), field[1], own)), own
                if known is not None and len(field[1]) <= FIELD_LENGTH:
                    if len(known) >= FIELDS_KNOWN:
                        known.clear()
                    known[field] = entry
            found.append(entry[0])
            if entry[1]:
                rules |= entry[1]
        return tuple(found)

    def _field(self, name: str, value: str, rules: set[str]) -> str:
        if name in self._headers or self._every_header:
            return self._text(value, f"header:{name}", rules)
        if not value or is_token(value):
            return value
        rule = self._finder.name_rule(name) or "header"
        rules.add(rule)
        return self._token(rule, value)

    def _text(self, text: str, where: str, rules: set[str]) -> str:
        secrets = [] if self._off else self._finder.text(text, where)
        return self._replaced(text, secrets, rules) if secrets else text

    def _json(self, data: bytes, rules: set[str]) -> bytes:
        """The very same object if there is nothing to replace."""
        if self._off or not self._finder.needs_look(data):
            return data
        text = data.decode("utf-8", "surrogateescape")
        secrets = self._finder.message(text)
        return self._replaced(text, secrets, rules).encode("utf-8", "surrogateescape") if secrets else data

    def _replaced(self, text: str, secrets: list[Secret], rules: set[str]) -> str:
        parts: list[str] = []
        place = 0
        for secret in secrets:
            parts += text[place : secret.start], secret.quote, self._token(secret.rule, secret.value), secret.quote
            rules.add(secret.rule)
            place = secret.end
        return "".join((*parts, text[place:]))

    def _token(self, rule: str, value: str) -> str:
        digest = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256")
        return f"[REDACTED:{_UNNAMED.sub('-', rule)}:{digest[:8].hex()}]"


def _copies(frame: Frame, message: bytes) -> dict[str, Any]:
    """What a frame repeats of its message must say no more than that does."""
    try:
        members = decode_object(message)
    except (msgspec.MsgspecError, RecursionError):
        return {}  # no JSON-RPC message: then nothing was taken from it
    found: dict[str, Any] = {}
    if frame.id is not None and "id" in members:
        found["id"] = members["id"]
    if frame.method is not None and "method" in members:
        found["method"] = msgspec.json.decode(members["method"])
    if frame.token is not None and (token := _progress_token(members)) is not None:
        found["token"] = token
    return found


def _progress_token(members: dict[str, Any]) -> Raw | None:
    """The token of a request (in its `_meta`) or of a progress notification."""
    try:
        params = decode_object(members.get("params", b"{}"))
        found = params.get("progressToken") or decode_object(params.get("_meta", b"{}")).get("progressToken")
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if found is None else Raw(encode(found))
