"""Secrets that a name stands before, in texts that are no JSON: `API_KEY=…`, `password: "…"`, `--token …`, `Cookie: …`. Pure code.

In: a text, and the clues to where names are (`suspicion.py`). Out: where values stand whose names say that they are secret. The rules are made to miss
source code (`token=token`, `password=get()`, `token: str`) and sentences, so they are help, not a promise: who knows more about a server
configures keys, pointers or patterns.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shadowproxy.tape.redaction.secret_names import ENDS, LENGTH, secret_end, secret_name
from shadowproxy.tape.redaction.suspicion import NAME, OPTION, Clue

RULE: Final = "assigned"

_END: Final = re.compile(rf"(?:{ENDS})s?[-_]?[0-9]{{0,3}}", re.IGNORECASE | re.ASCII)
_SIGN: Final = re.compile(r"(?:\\{0,8}[\"'])?[ \t]*+[:=]|>")
_BARE: Final = r"(?=[^$*%=:!<])[^\s\"'`&;,<>(){}\[\]|\\]{3,4096}+(?![(\[{<])"
_VALUE: Final = re.compile(rf"""
    (?P<mark>\\{{0,8}}["'])?
    (?: [ \t]{{0,8}} (?: :=? | =>? ) [ \t]{{0,8}} \\{{0,8}} (?P<quote>["']) (?P<quoted> (?:(?!\\{{0,8}}(?P=quote))[^\n]){{1,4096}}+ )
      | (?<=["'])    [ \t]{{0,8}} : [ \t]{{0,8}} (?P<number> -?[0-9][0-9.eE+-]*+ )
      | = (?P<bare> {_BARE} )
      | > (?P<element> [^<>\n]{{1,4096}}+ ) </
    )""", re.VERBOSE)
_OPTION: Final = re.compile(rf"(?<![^\s-])(--[\w.-]+)[ \t]{{1,8}}[\"']?({_BARE})")
_CALM: Final = re.compile(r"(?:true|false|null|none|undefined|required|optional|string|str|int|bool)\Z", re.IGNORECASE)

_MARGIN: Final = re.compile(r"[ \t>#*-]*[\"']?[\w.-]*")
_LINE: Final = re.compile(r"""
    ["']? [ \t]* (?: : [ \t]* (?P<line> [^\s"'{\[|>&*$] [^\r\n]* )
                  | [ \t] = [ \t]* (?P<setting> [^\s"'`(){}\[\]<>|&*$=,;]*+ ) [ \t]* (?: [;#].* )? (?: \r?\n | \Z ) )""", re.VERBOSE)  # fmt: skip
_QUOTE: Final = re.compile(r"(?:^|[\s(,=\[])\\{0,8}([\"'])[\w-]*\Z")
_HEADER: Final = {quote: re.compile(rf"[ \t]*:[ \t]*([^\"'\r\n\\{{}}$<>]*[^\"'\s\\{{}}$<>])\\{{0,8}}{quote}") for quote in "\"'"}
MARGIN: Final = 60
"""Characters of a line before its name."""


def assigned(text: str, clues: Iterable[Clue]) -> Iterator[tuple[int, int, str]]:
    """From, to, rule; in the order of the clues; they may overlap."""
    bare = 0  # the end of the last value without quotes: a name in it gives no other
    for place, kind in clues:
        if kind == OPTION and (span := _option(text, place)):
            yield (*span, RULE)
        if kind != NAME or (name := _END.match(text, place)) is None or (sign := _SIGN.match(text, name.end())) is None or sign.end() < bare:
            continue
        begin = max(0, name.end() - LENGTH)
        found = secret_end(text[begin : name.end()])
        if found is None:
            continue
        span = _value(text, name.end()) or _line(text, begin + found[0], name.end(), found[1])
        if span is not None:
            bare = span[1] if text[span[0] - 1] == "=" else bare
            yield (*span, RULE)


def _option(text: str, place: int) -> tuple[int, int] | None:
    match = _OPTION.match(text, place)
    return None if match is None or secret_name(match[1]) is None or _is_calm(match[2]) else match.span(2)


def _value(text: str, end: int) -> tuple[int, int] | None:
    match = _VALUE.match(text, end)
    if match is None:
        return None
    kind = match.lastgroup or ""
    return None if kind in ("bare", "element") and _is_calm(match[kind]) else match.span(kind)


def _is_calm(value: str) -> bool:
    """Whether it is a word of source code, or names what others hold."""
    return _CALM.match(value) is not None or secret_name(value) is not None


def _line(text: str, start: int, end: int, rule: str) -> tuple[int, int] | None:
    """The value, if name and value have their line to themselves, as in YAML, in settings and in a header; or are in quotes together, as in a command.
    One that could be a word of prose has no digit."""
    before = text[max(0, start - MARGIN - 1) : start]
    margin = before.rpartition("\n")[2]
    if len(margin) <= MARGIN and _MARGIN.fullmatch(margin):
        match = _LINE.match(text, end)
    else:
        quote = _QUOTE.search(before)
        match = None if quote is None else _HEADER[quote[1]].match(text, end)
    if match is None:
        return None
    kind = match.lastgroup or 1
    value = match[kind].rstrip()
    if kind != "setting" and rule in ("authorization", "cookie"):
        return match.start(kind), match.start(kind) + len(value)
    is_word = len(value) < 3 or " " in value or not any(map(str.isdigit, value))
    if is_word or (kind == "setting" and (value.isdigit() or secret_name(value))):
        return None
    return match.start(kind), match.start(kind) + len(value)
