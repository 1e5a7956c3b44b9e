"""The conditions of filters, and what they mean. Pure code.

In: the words of one condition. Out: a predicate of `Row`s, or `NoSuchThing`, which says what there is instead.
"""
from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import translate
from typing import Any, Final, TypeAlias, get_args

import msgspec

from shadowproxy.config.rules import did_you_mean
from shadowproxy.tape.frame import Direction, Frame, Kind, Leg
from shadowproxy.tape.viewing.rows import Era, Row
from shadowproxy.wire.jsonrpc import Raw, text_of

Predicate: TypeAlias = Callable[[Row], bool]


class NoSuchThing(ValueError):
    """This condition cannot be meant; `of_value`: it is its value that is at fault, not its name."""

    def __init__(self, what: str, *, of_value: bool = False) -> None:
        super().__init__(what)
        self.of_value = of_value


# --- method:tools/*

_FIELDS: Final[Mapping[str, Callable[[Row], str | None]]] = {
    "method": lambda row: row.method,
    "tool": lambda row: row.tool,
    "prompt": lambda row: row.prompt,
    "resource": lambda row: row.resource,
    "uri": lambda row: row.resource,
    "kind": lambda row: row.frame.kind,
    "dir": lambda row: row.frame.dir,
    "leg": lambda row: row.frame.leg,
    "era": lambda row: row.era,
    "session": lambda row: row.frame.session,
    "exchange": lambda row: None if row.frame.exchange is None else str(row.frame.exchange),
    "id": lambda row: None if row.frame.id is None else _plain(row.frame.id),
}
_CHOICES: Final[Mapping[str, Sequence[str]]] = {"kind": get_args(Kind), "dir": get_args(Direction), "leg": get_args(Leg), "era": get_args(Era)}


def field(name: str, value: str, *, literal: bool) -> Predicate:
    """`name:value`, where * ? and [] stand for other characters unless the value is `literal`."""
    of = _FIELDS.get(name)
    if of is None:
        raise NoSuchThing(f'text is searched by "{value}", or by a regular expression: text~"…"' if name == "text" else _unknown(name))
    match = value.__eq__ if literal else re.compile(translate(value)).match
    choices = _CHOICES.get(name)
    if choices and not any(map(match, choices)):
        raise NoSuchThing(f"{name} is one of {', '.join(choices)}{did_you_mean(value, choices)}", of_value=True)
    return lambda row: (text := of(row)) is not None and bool(match(text))


def _plain(raw: Raw) -> str:
    """An id as people write it: 7 and "7" are both 7."""
    text = text_of(raw)
    return bytes(raw).decode("utf-8", "replace") if text is None else text


# --- dur>200ms

_TIME: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZE: Final = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024.0, "mib": 1024.0**2, "gib": 1024.0**3}
_QUANTITIES: Final[Mapping[str, tuple[Callable[[Row], float | None], Mapping[str, float]]]] = {
    "dur": (lambda row: row.duration, _TIME),
    "size": (lambda row: size_of(row.frame), _SIZE),
    "n": (lambda row: row.frame.n, {"": 1.0}),
    "t": (lambda row: row.frame.t, {"": 1.0, **_TIME}),
    "exchange": (lambda row: row.frame.exchange, {"": 1.0}),
    "status": (lambda row: row.frame.http.status if row.frame.http else None, {"": 1.0}),
}
_COMPARE: Final = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "=": operator.eq, "==": operator.eq}
_AMOUNT: Final = re.compile(r"([0-9.]+)(.*)")


def quantity(name: str, comparison: str, amount: str) -> Predicate:
    """`name>amount`. What has no such quantity compares with nothing."""
    known = _QUANTITIES.get(name)
    if known is None:
        raise NoSuchThing(_unknown(name))
    of, units = known
    parts = _AMOUNT.fullmatch(amount)
    assert parts is not None, "the grammar sees to that"
    factor = units.get(parts[2].lower())
    if factor is None:
        raise NoSuchThing(f"{name} is told {_in(units)}, not as {amount}", of_value=True)
    bound, compare = float(parts[1]) * factor, _COMPARE[comparison]
    return lambda row: (value := of(row)) is not None and compare(value, bound)


def _in(units: Mapping[str, float]) -> str:
    names = [unit for unit in units if unit]
    return f"in {', '.join(names)}, as in {'200ms' if 'ms' in names else '10kb'}" if names else "as a number"


def size_of(frame: Frame) -> int:
    """Bytes of what it carries: its message, or the text in place of one."""
    if frame.message is not None:
        return memoryview(frame.message).nbytes
    text = frame.text or (frame.sse.data or frame.sse.comment if frame.sse is not None else None)
    return len(text.encode("utf-8", "surrogatepass")) if text else 0


# --- "word", text~"regular expression", err

def holds(text: str) -> Predicate:
    """Anywhere in what a frame carries, whatever the case."""
    wanted = text.lower()
    return lambda row: any(wanted in part.lower() for part in carried(row.frame))


def matching(name: str, pattern: str) -> Predicate:
    """`text~"…"`: a regular expression that matches somewhere in what a frame carries."""
    if name != "text":
        raise NoSuchThing(f'a regular expression is for the text of a message: text~"…"{"; for " + name + " write " + name + ":…" if name in _FIELDS else ""}')
    try:
        search = re.compile(pattern).search
    except (re.error, RecursionError, OverflowError) as error:
        raise NoSuchThing(f"no regular expression: {error}", of_value=True) from None
    return lambda row: any(search(part) is not None for part in carried(row.frame))


def word(name: str) -> Predicate:
    """The conditions that are a word of their own."""
    if name in _FIELDS:
        raise NoSuchThing(f"{name} needs a value, as in {name}:…")
    if name in _QUANTITIES:
        raise NoSuchThing(f"{name} needs a comparison, as in {name}>{'200ms' if name in ('dur', 't') else '100'}")
    if name != "err":
        raise NoSuchThing(_unknown(name) + f'; text is searched in quotes: "{name}"')
    return lambda row: row.error is not None


def carried(frame: Frame) -> Iterator[str]:
    """The texts to search: the message as it is spelled, and where it has escapes, its strings too."""
    if frame.message is not None:
        data = bytes(frame.message)
        yield data.decode("utf-8", "replace")
        if b"\\" in data:
            yield from _strings(frame)
    yield from filter(None, (frame.text, *((frame.sse.data, frame.sse.comment) if frame.sse is not None else ()), frame.error))


def _strings(frame: Frame) -> Iterator[str]:
    try:
        waiting: list[Any] = [frame.value()]
    except (msgspec.MsgspecError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += (*value.keys(), *value.values())
        elif isinstance(value, list):
            waiting += value


def _unknown(name: str) -> str:
    known = [*(f"{field}:" for field in _FIELDS), *(f"{quantity}>" for quantity in _QUANTITIES), "text~", "err"]
    close = did_you_mean(name, [*_FIELDS, *_QUANTITIES, "text", "err"])
    return f"there is no '{name}'{close}; there is {' '.join(known)}"
