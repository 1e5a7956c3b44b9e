"""What counts as a secret in a tape: the settings. Nothing is replaced here; `redact.py` does that.

In: what somebody configured. Out: `Redaction`, frozen and checked; `ConfigError` names the setting that cannot be meant.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

from shadowproxy.config.rules import WrongValue, shown

Judge: TypeAlias = Callable[[str, str], bool]
"""Where a text stands (a JSON pointer into the message, `header:name`, or the name of a frame's member) and the text -> is it a secret?"""


def segments(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901); "*" stands for any member or element."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _texts(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(item, str) and item for item in value):
        raise WrongValue(attribute.name, f"must be a list of texts that are not empty, not {shown(value)}")


def _pointers(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for pointer in value:
        if not pointer.startswith("/") or re.search(r"~(?![01])", pointer):
            raise WrongValue(attribute.name, f"{shown(pointer)} is no JSON pointer, as in '/params/arguments/pin' or '/result/*/secret'")


def _patterns(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for pattern in value:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise WrongValue(attribute.name, f"{shown(pattern)} is no regular expression: {error}") from None
        if compiled.search(""):
            raise WrongValue(attribute.name, f"{shown(pattern)} matches the empty text, so it would match everywhere")


def _judges(_: Any, attribute: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if not all(map(callable, value)):
        raise WrongValue(attribute.name, f"must be functions (where, text) -> bool, not {shown(value)}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@attrs.frozen(kw_only=True)
class Redaction:
    """A policy. All but `off` and `without` adds to what is built in (`secret_names.py`, `secret_shapes.py`).

    `headers`: further fields that stay as they are; any other than these and the built-in harmless ones is replaced. `keys`: names of JSON members
    (any case, with - or _ or neither) whose values are secret. `pointers`: JSON pointers into the message. `patterns`: regular expressions; what
    matches is secret. `callables`: functions that judge each text. `without`: rules that do not apply, by the names that tokens show. Patterns and
    callables are asked about every text there is, which costs as much as if every message held a secret. `off`: nothing is replaced.
    """

    name: str = attrs.field(default="default", validator=attrs.validators.min_len(1))
    headers: tuple[str, ...] = attrs.field(default=(), converter=_tuple, validator=_texts)
    keys: tuple[str, ...] = attrs.field(default=(), converter=_tuple, validator=_texts)
    pointers: tuple[str, ...] = attrs.field(default=(), converter=_tuple, validator=[_texts, _pointers])
    patterns: tuple[str, ...] = attrs.field(default=(), converter=_tuple, validator=[_texts, _patterns])
    callables: tuple[Judge, ...] = attrs.field(default=(), converter=_tuple, validator=_judges)
    without: tuple[str, ...] = attrs.field(default=(), converter=_tuple, validator=_texts)
    off: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))


DEFAULT: Final = Redaction()
