"""How two JSON values differ: a small structural comparison whose findings are JSON pointers. Pure code.

In: two decoded values and an `Ignoring`. Out: `Difference`s, bounded in number; `canonical`, the bytes by which equal values are found without
comparing each with each. Shared by `verify.py`, `diff.py` and `drift.py`, and by the replay's report of a miss (`match.py`, `replay.py`).

A pointer is RFC 6901, where `*` stands for any one member and `**` for any number of them; a method before it narrows it:
`/result/time`, `/**/timestamp`, `tools/call:/result/content/*/text`.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from shadowproxy.tape.redaction.secret_shapes import TOKEN

Path: TypeAlias = tuple[str, ...]
States: TypeAlias = frozenset[Path]
"""What is left of the pointers that may still lead to this place."""
ABSENT: Final = msgspec.UNSET
LIMIT: Final = 50
"""Differences that are told of one pair of values; who wants more looks at the values."""
OPAQUE: Final = "\N{HORIZONTAL ELLIPSIS}"


@attrs.frozen
class Difference:
    """At `pointer` there was `old` and is `new`; one of them `ABSENT` when the member is missing or extra."""

    pointer: str
    old: Any = ABSENT
    new: Any = ABSENT

    @property
    def kind(self) -> str:
        return "missing" if self.new is ABSENT else "extra" if self.old is ABSENT else "changed"

    def as_json(self) -> dict[str, Any]:
        return {"pointer": self.pointer, "kind": self.kind, **{name: value for name, value in (("old", self.old), ("new", self.new)) if value is not ABSENT}}

    def __str__(self) -> str:
        if self.kind == "missing":
            return f"{self.pointer or '/'}: missing, was {short(self.old)}"
        if self.kind == "extra":
            return f"{self.pointer or '/'}: extra, {short(self.new)}"
        return f"{self.pointer or '/'}: {short(self.old)} -> {short(self.new)}"


def short(value: Any, most: int = 120) -> str:
    """A value in a line. What would not be seen in a terminal (controls, invisible letters) is shown as its escape."""
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in msgspec.json.encode(value).decode())
    return text if len(text) <= most else f"{text[: most // 2]}{OPAQUE}{text[-most // 2 + 1 :]}"


class BadPointer(ValueError):
    """This text is no JSON pointer; the message says what one looks like."""


def parse_pointer(text: str) -> Path:
    if text and not text.startswith("/"):
        raise BadPointer(f"{text!r} is no JSON pointer: it begins with a slash, as in /result/content/0/text")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def format_pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


@attrs.frozen
class _Rule:
    method: str | None
    path: Path


@attrs.frozen
class Ignoring:
    """What does not count. `dropped` members count not at all; of `opaque` ones only whether they are there. `wild`: a redacted value
    equals anything in its place (what it was nobody knows)."""

    dropped: tuple[_Rule, ...] = ()
    opaque: tuple[_Rule, ...] = ()
    wild: bool = True

    @classmethod
    def parse(cls, dropped: Iterable[str] = (), opaque: Iterable[str] = (), *, wild: bool = True) -> Ignoring:
        """Raises `BadPointer`."""
        return cls(tuple(map(_parse_rule, dropped)), tuple(map(_parse_rule, opaque)), wild)

    def and_also(self, dropped: Iterable[str]) -> Ignoring:
        return attrs.evolve(self, dropped=self.dropped + tuple(map(_parse_rule, dropped)))

    def whole(self, method: str | None) -> bool:
        """Whether messages of this method do not count at all."""
        return () in self.start(method)[0]

    def start(self, method: str | None) -> tuple[States, States]:
        return _closed(rule.path for rule in self.dropped if rule.method in (None, method)), _closed(rule.path for rule in self.opaque if rule.method in (None, method))


def _parse_rule(text: str) -> _Rule:
    if text.startswith("/"):
        return _Rule(None, parse_pointer(text))
    method, separator, pointer = text.partition(":")
    if not method or (not separator and "/" not in method):
        raise BadPointer(f"{text!r} is no JSON pointer: it begins with a slash, as in /result/content/0/text, or with a method, as in tools/call:/result/content")
    return _Rule(method, parse_pointer(pointer))


def _closed(paths: Iterable[Path]) -> States:
    found = set()
    for path in paths:
        found.add(path)
        while path[:1] == ("**",):
            path = path[1:]
            found.add(path)
    return frozenset(found)


def _step(states: States, name: str) -> States:
    if not states:
        return states
    return _closed(path if path[0] == "**" else path[1:] for path in states if path and path[0] in ("**", "*", name))


#: What changes from one time to the next and means nothing, of every message.
VOLATILE: Final = Ignoring.parse(
    dropped=("/id", "/jsonrpc", "/**/_meta", "/result/capabilities/*/listChanged"),
    opaque=("/result/nextCursor", "/params/cursor", "/result/requestState", "/params/requestState", "/result/taskId", "/result/task/taskId", "/params/taskId", "/result/ttlMs"),
)  # fmt: skip


def differences(old: Any, new: Any, ignoring: Ignoring = VOLATILE, method: str | None = None, limit: int = LIMIT) -> list[Difference]:
    """Where they differ, in the order of the old value; `limit` at most."""
    found: list[Difference] = []
    try:
        for difference in _compare(old, new, (), *ignoring.start(method), ignoring.wild):
            found.append(difference)
            if len(found) >= limit:
                break
    except RecursionError:
        if msgspec.json.encode(old) != msgspec.json.encode(new):
            found.append(Difference("", "nested too deeply to be compared", "nested too deeply to be compared"))
    return found


def _compare(old: Any, new: Any, path: tuple[str | int, ...], dropped: States, opaque: States, wild: bool) -> Iterator[Difference]:
    if () in dropped or (() in opaque and old is not ABSENT and new is not ABSENT):
        return
    if type(old) is dict and type(new) is dict:
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _compare(old.get(name, ABSENT), new.get(name, ABSENT), (*path, name), _step(dropped, name), _step(opaque, name), wild)
    elif type(old) is list and type(new) is list:
        yield from _compare_lists(old, new, path, dropped, opaque, wild)
    elif not _equal(old, new, wild):
        yield Difference(format_pointer(path), old, new)


def _compare_lists(old: list[Any], new: list[Any], path: tuple[str | int, ...], dropped: States, opaque: States, wild: bool) -> Iterator[Difference]:
    """Item by item; where one is longer, what both end with is set aside first, so that one insertion is one difference."""

    def compare(at: int, left: Any, right: Any) -> Iterator[Difference]:
        return _compare(left, right, (*path, at), _step(dropped, str(at)), _step(opaque, str(at)), wild)

    def alike(left: int, right: int) -> bool:
        return next(compare(left, old[left], new[right]), None) is None

    head, tail, shorter = 0, 0, min(len(old), len(new))
    if len(old) != len(new):
        while head < shorter and alike(head, head):
            head += 1
        while tail < shorter - head and alike(len(old) - tail - 1, len(new) - tail - 1):
            tail += 1
    for at in range(head, max(len(old), len(new)) - tail):
        yield from compare(at, old[at] if at < len(old) - tail else ABSENT, new[at] if at < len(new) - tail else ABSENT)


def _equal(old: Any, new: Any, wild: bool) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if old == new:
        return True
    return wild and isinstance(old, str) and isinstance(new, str) and (_fits(old, new) or _fits(new, old) or _masked(old) == _masked(new))


def _fits(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern` with something in the place of each redacted value."""
    return "[REDACTED:" in pattern and re.fullmatch(".*".join(map(re.escape, TOKEN.split(pattern))), text, re.DOTALL) is not None


def _masked(text: str) -> str:
    return TOKEN.sub(OPAQUE, text) if "[REDACTED:" in text else text


def canonical(value: Any, ignoring: Ignoring = VOLATILE, method: str | None = None) -> bytes:
    """The same bytes for values between which there are no differences (of redacted ones the token counts, unless `wild`)."""
    dropped, opaque = ignoring.start(method)
    try:
        return b"" if () in dropped else msgspec.json.encode(_pruned(value, dropped, opaque, ignoring.wild), order="sorted")
    except RecursionError:
        return msgspec.json.encode(value)


def _pruned(value: Any, dropped: States, opaque: States, wild: bool) -> Any:
    if () in opaque:
        return OPAQUE
    if type(value) is dict:
        kept = ((name, item, _step(dropped, name)) for name, item in value.items())
        return {name: _pruned(item, states, _step(opaque, name), wild) for name, item, states in kept if () not in states}
    if type(value) is list:
        return [_pruned(item, _step(dropped, str(at)), _step(opaque, str(at)), wild) for at, item in enumerate(value) if () not in _step(dropped, str(at))]
    if type(value) is float and value.is_integer():
        return int(value)
    return _masked(value) if wild and type(value) is str else value
