"""Looking for secrets on a tape that is already written: what redaction would replace, and rarer looks that it does not know. Pure code.

In: frames. Out: `Finding`s, one by one; none shows its secret, nor any other. Nothing is held but the frame under way.
"""
from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import attrs

from shadowproxy.tape.frame import Frame, Header
from shadowproxy.tape.redaction.redaction import DEFAULT, Redaction
from shadowproxy.tape.redaction.secret_finder import Finder
from shadowproxy.tape.redaction.secret_names import HARMLESS_HEADERS
from shadowproxy.tape.redaction.secret_shapes import FURTHER, TOKEN, Shape
from shadowproxy.tape.redaction.secret_walk import Secret

AROUND: Final = 32
"""Characters that an excerpt shows on either side."""
KNOWN: Final = 1024
"""Sets of header fields that are remembered."""
Fields: TypeAlias = tuple[tuple[str, str], ...]


@attrs.frozen
class Finding:
    """A likely secret. `where`: a JSON pointer into the message, `header:name`, or a member of the frame. `n` is 0 in the tape's header line."""

    n: int
    where: str
    rule: str
    excerpt: str


def _is_random(text: str) -> bool:
    """Whether it looks like chance: capitals, small letters and some digits, and as mixed as 4 bits a character."""
    if text.upper() == text or text.lower() == text or sum(map(str.isdigit, text)) < 2:
        return False
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts) >= 4.0


_RANDOM: Final = Shape("entropy", None, re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{24,128}={0,2}(?![\w+/=-])", re.ASCII), _is_random)


def scan(frames: Iterable[Frame], header: Header | None = None, *, redaction: Redaction = DEFAULT, entropy: bool = False) -> Iterator[Finding]:
    """`entropy`: whatever looks like chance too, which is often an id and no secret."""
    scanner = _Scanner(redaction, entropy)
    if header is not None:
        yield from scanner.text(0, "upstream", header.upstream)
        if header.server is not None:
            yield from scanner.message(0, bytes(header.server), "/server")
    for frame in frames:
        yield from scanner.frame(frame)


class _Scanner:
    def __init__(self, redaction: Redaction, entropy: bool) -> None:
        self._finder = Finder(redaction, (*FURTHER, _RANDOM) if entropy else FURTHER)
        self._headers = HARMLESS_HEADERS | {name.lower() for name in redaction.headers}
        self._clean: set[Fields] = set()  # nearly all frames have the same few

    def frame(self, frame: Frame) -> Iterator[Finding]:
        if frame.message is not None:
            yield from self.message(frame.n, bytes(frame.message))
        else:
            for name, raw in (("id", frame.id), ("token", frame.token)):
                if raw is not None:
                    yield from self.message(frame.n, bytes(raw), name)
        for where, text in _texts(frame):
            if text:
                yield from self.text(frame.n, where, text)
        if frame.http is not None and frame.http.headers not in self._clean:
            yield from self._fields(frame.n, frame.http.headers)

    def message(self, n: int, data: bytes, base: str = "") -> Iterable[Finding]:
        if not self._finder.needs_look(data):
            return ()
        text = data.decode("utf-8", "surrogateescape")
        return self._told(n, base, text, self._finder.message(text))

    def text(self, n: int, where: str, text: str) -> Iterable[Finding]:
        secrets = self._finder.text(text, where)
        return self._told(n, where, text, secrets) if secrets else ()

    def _fields(self, n: int, fields: Fields) -> Iterator[Finding]:
        found = [finding for name, value in fields for finding in self._field(n, name.lower(), value)]
        if not found:
            if len(self._clean) >= KNOWN:
                self._clean.clear()
            self._clean.add(fields)
        yield from found

    def _field(self, n: int, name: str, value: str) -> Iterable[Finding]:
        where = f"header:{name}"
        if name in self._headers:
            return self.text(n, where, value)
        if not value or TOKEN.fullmatch(value) is not None:
            return ()
        return (Finding(n, where, self._finder.name_rule(name) or "header", f"{name}: {_blank(value)}"),)

    @staticmethod
    def _told(n: int, base: str, text: str, secrets: list[Secret]) -> Iterator[Finding]:
        parts: list[str] = []
        shown: list[tuple[int, int]] = []
        place = length = 0
        for secret in secrets:
            blank = _blank(secret.value)
            parts += text[place : secret.start], blank
            length += secret.start - place
            shown.append((length, length := length + len(blank)))
            place = secret.end
        safe = "".join((*parts, text[place:])) if secrets else ""
        for secret, (start, end) in zip(secrets, shown, strict=True):
            yield Finding(n, base + secret.where, secret.rule, _excerpt(safe, start, end))


def _texts(frame: Frame) -> Iterator[tuple[str, str | None]]:
    """What a frame says beside its message and its header fields."""
    yield "session", frame.session
    yield "error", frame.error
    yield "text", frame.text
    if frame.message is None:  # else it is the message's
        yield "method", frame.method
    if frame.sse is not None:
        for name in ("id", "event", "data", "comment"):
            yield f"sse.{name}", getattr(frame.sse, name)


def _blank(value: str) -> str:
    return f"‹{len(value)} characters›"


def _excerpt(text: str, start: int, end: int) -> str:
    """The blank and what is around it, on one line."""
    before = "…" * (start > AROUND) + text[max(0, start - AROUND) : start]
    behind = text[end : end + AROUND] + "…" * (end + AROUND < len(text))
    return "".join(character if character.isprintable() else " " for character in before + text[start:end] + behind)
