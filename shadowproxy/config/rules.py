"""The rules that settings obey, as attrs validators.

In: a value, at the moment its object is made. Out: nothing, or `WrongValue`, which says what the setting must be. Pure.
"""
from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from shadowproxy.errors import ConfigError

Rule = Callable[[Any, "attrs.Attribute[Any]", Any], None]

_PASSWORD = re.compile(r"//[^/?#]*@")
_LONGEST = 60
"""Characters of a wrong value that an error repeats."""


class WrongValue(ConfigError):
    """One setting that cannot be meant: its name (empty: several together are at fault), and what to write instead."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}" if name else what)
        self.name, self.what = name, what


def shown(value: object) -> str:
    """A value as an error repeats it."""
    text = _PASSWORD.sub("//…@", repr(value))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A remark about the likeliest of `known`, or nothing."""
    close = difflib.get_close_matches(word, known, 1)
    return f" - did you mean '{close[0]}'?" if close else ""


def choose(choices: Sequence[str], value: object) -> str:
    """What to say of a value that is none of `choices`."""
    return f"must be {' or '.join(map(repr, choices))}, not {shown(value)}{did_you_mean(str(value), choices)}"


def whole(least: int) -> Rule:
    """A whole number, `least` or more; None where the setting has that as its default."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None and attribute.default is None:
            return
        if type(value) is not int or value < least:
            raise WrongValue(attribute.name, f"must be a whole number, {least} or more, not {shown(value)}")

    return rule


def seconds(*, zero: bool) -> Rule:
    """Finite seconds above zero; zero too where it means "at once"; None where the setting has that as its default."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None and attribute.default is None:
            return
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and (value > 0 or (zero and value == 0))
        if not good:
            raise WrongValue(attribute.name, f"must be a number of seconds, {'0 or more' if zero else 'more than 0'}, not {shown(value)}")

    return rule


def switch(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """True or false; None where the setting has that as its default."""
    if not (isinstance(value, bool) or (value is None and attribute.default is None)):
        raise WrongValue(attribute.name, f"must be true or false, not {shown(value)}")


def one_of(*choices: str) -> Rule:
    """One of a few words."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            raise WrongValue(attribute.name, choose(choices, value))

    return rule


def text(check: Callable[[str], str | None]) -> Rule:
    """A text in which `check` finds nothing wrong; None where the setting has that as its default."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not (value is None and attribute.default is None):
            _judge(check, attribute, value)

    return rule


def texts(check: Callable[[str], str | None]) -> Rule:
    """A tuple of such texts. One string is refused: it would be taken for the list of its letters."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, tuple):
            raise WrongValue(attribute.name, f"must be a tuple of strings, not {shown(value)}")
        for item in value:
            _judge(check, attribute, item)

    return rule


def _judge(check: Callable[[str], str | None], attribute: attrs.Attribute[Any], value: object) -> None:
    wrong = check(value) if isinstance(value, str) else "must be a string"
    if wrong is not None:
        raise WrongValue(attribute.name, f"{wrong}, not {shown(value)}")


def pairs(check: Callable[[str, str], str | None]) -> Rule:
    """A mapping of texts; `check` looks at name and value. What is told has the name only: values may be secrets."""

    def rule(_: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
        for name, item in value.items():
            wrong = check(name, item) if isinstance(name, str) and isinstance(item, str) else "and its value must be strings"
            if wrong is not None:
                raise WrongValue(attribute.name, f"{shown(name)} {wrong}")

    return rule


def different_names(_: object, attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    """Names of headers know no case, so two that differ by case only would be sent twice."""
    first: dict[str, str] = {}
    for name in value:
        other = first.setdefault(name.lower(), name)
        if other != name:
            raise WrongValue(attribute.name, f"{shown(name)} is the same header as {shown(other)}; keep one")
