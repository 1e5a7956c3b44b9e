"""Secrets that a name stands before, in texts that are no JSON: `API_KEY=…`, `password: "…"`, `--token …`, `Cookie: …`. Pure code.

In: a text. Out: where values stand whose names say that they are secret. The rules are made to miss source code (`token=token`, `password=get()`,
`token: str`) and sentences, so they are help, not a promise: who knows more about a server configures keys, pointers or patterns.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shadowproxy.tape.redaction.secret_names import NAME, secret_name
from shadowproxy.tape.redaction.suspicion import hits, in_lower_case

RULE: Final = "assigned"

AROUND: Final = 24
"""Characters of the longest name there is, and of the number behind it."""
_NAME: Final = re.compile(rf"{NAME}s?[-_]?[0-9]{{0,3}}")
_BARE: Final = r"(?=[^$*%=:!<])[^\s\"'`&;,<>(){}\[\]|\\]{3,4096}+(?![(\[{<])"
_VALUE: Final = re.compile(rf"""
    (?P<mark>\\{{0,8}}["'])?
    (?: [ \t]{{0,8}} (?: :=? | =>? ) [ \t]{{0,8}} \\{{0,8}} (?P<quote>["']) (?P<quoted> (?:(?!\\{{0,8}}(?P=quote))[^\n]){{1,4096}}+ )
      | (?<=["'])    [ \t]{{0,8}} : [ \t]{{0,8}} (?P<number> -?[0-9][0-9.eE+-]*+ )
      | = (?P<bare> {_BARE} )
      | [ \t]{{1,8}} ["']? (?P<option> {_BARE} )
    )""", re.VERBOSE)
_LINE: Final = re.compile(r"[\"']?[ \t]*:[ \t]*([^\s\"'{\[|>&*$][^\r\n]*)")
_MARGIN: Final = re.compile(r"[ \t>#*-]*[\"']?[\w.-]*")
_CALM: Final = re.compile(r"(?:true|false|null|none|undefined|required|optional|string|str|int|bool)\Z", re.IGNORECASE)
_SPARING: Final = 16
"""Characters before a name that may spare it: "progress" before "token"."""


def assigned(text: str) -> Iterator[tuple[int, int, str]]:
    """From, to, rule; in order, but they may overlap."""
    for name in _names(in_lower_case(text)):
        rule = secret_name(text[max(0, name.start() - _SPARING) : name.end()])
        if rule is None:
            continue
        span = _value(text, name) or _line(text, name, rule)
        if span is not None:
            yield (*span, RULE)


def _names(lowered: str) -> Iterator[re.Match[str]]:
    """Words that look like secret names: sought only around what is suspicious, because a search for this many words is slow."""
    done = 0
    for hit in hits(lowered):
        for name in _NAME.finditer(lowered, max(done, hit - AROUND), hit + AROUND):
            done = name.end()
            yield name


def _value(text: str, name: re.Match[str]) -> tuple[int, int] | None:
    match = _VALUE.match(text, name.end())
    if match is None:
        return None
    kind = match.lastgroup or ""
    if kind in ("bare", "option") and (_CALM.match(match[kind]) or secret_name(match[kind])):
        return None
    if kind == "option" and not _is_option(text, name.start()):
        return None
    return match.span(kind)


def _is_option(text: str, start: int) -> bool:
    """Whether the name is the end of `--such-a-word`."""
    word = text[max(0, start - 40) : start]
    return re.search(r"(?:^|\s)--[\w-]*\Z", word) is not None


def _line(text: str, name: re.Match[str], rule: str) -> tuple[int, int] | None:
    """The value, if name and value have their line to themselves, as in YAML and in a header. One that could be a word of prose has no digit."""
    begin = text.rfind("\n", 0, name.start()) + 1
    if name.start() - begin > 60 or not _MARGIN.fullmatch(text, begin, name.start()):
        return None
    match = _LINE.match(text, name.end())
    if match is None:
        return None
    value = match[1].rstrip()
    if rule not in ("authorization", "cookie") and not (len(value) > 2 and " " not in value and any(map(str.isdigit, value))):
        return None
    return match.start(1), match.start(1) + len(value)
