"""JSON text seen as text: its tokens, and which characters of a string literal spell which character of the string. Pure code.

In: text that may be JSON. Out: tokens with their places; places in a decoded string as places in its literal, so that a part of a string can be
replaced and all the rest stays as it was spelled.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner behind json.loads: there since 2.7, but not in the stubs
from typing import Final

_STRING: Final = r"\"[^\"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|[\"\\/bfnrt])[^\"\\]*+)*+\""
_SCALAR: Final = "(?:-?[0-9][0-9.eE+-]*+|true|false|null)"
_SPACE: Final = r"[ \t\r\n]*+"
NESTING: Final = 3
"""Levels that `members`, `elements` and `element` pass in one go."""

STRING, KEY, OPEN, CLOSE, SCALAR = 1, 2, 3, 4, 5
token: Final = re.compile(
    rf"[ \t\r\n,]*+(?:({_STRING})([ \t\r\n]*+:)?|([{{\[])|([}}\]])|({_SCALAR}))", re.DOTALL
).match
"""One token at a place, commas before it skipped; `lastindex` of the match is its kind. Some text that is no JSON passes: nobody here minds."""


def _value(nesting: int) -> str:
    """A pattern for a value that nests no deeper."""
    if not nesting:
        return f"(?:{_STRING}|{_SCALAR})"
    inner = _value(nesting - 1)
    member = f"{_STRING}{_SPACE}:{_SPACE}{inner}"
    return (rf"(?:{_STRING}|{_SCALAR}|\{{{_SPACE}(?:{member}(?:{_SPACE},{_SPACE}{member})*+)?+{_SPACE}\}}"
            rf"|\[{_SPACE}(?:{inner}(?:{_SPACE},{_SPACE}{inner})*+)?+{_SPACE}\])")


members: Final = re.compile(rf"(?:[ \t\r\n,]*+{_STRING}{_SPACE}:{_SPACE}{_value(NESTING)})*+", re.DOTALL).match
"""Members of an object, as many as end before `endpos`: none looked at, all in C."""
element: Final = re.compile(rf"[ \t\r\n,]*+{_value(NESTING)}", re.DOTALL).match
"""One element of an array, likewise."""
elements: Final = re.compile(rf"(?:[ \t\r\n,]*+{_value(NESTING)})*+", re.DOTALL).match
_BEGINS: Final = tuple(map(re.compile, (r"\n(?:data:)?[ \t]*+\"", r"\{(?=\s*[\"}])", r"\[(?=\s*[\"{\[\]0-9tfn-])")))
"""How the documents in a text begin, the first at the beginning of a line; their last character is the document's first."""
_FIRST: Final = re.compile(r"(?:data:)?[ \t]*+\"")
_REST: Final = re.compile(r"[ \t\r]*+$", re.MULTILINE)
_ESCAPE: Final = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CHUNK: Final = re.compile(rf"(?:[^\"\\]{{1,99}}+|{_ESCAPE.pattern}){{1,99}}+", re.DOTALL)
_ASCII: Final = re.compile(r"\\(?:u00([2-7][0-9a-fA-F])|/)")


class NotJson(ValueError):
    """Here no JSON begins, or it breaks off; `place` says how far it went."""

    def __init__(self, place: int) -> None:
        super().__init__(f"no JSON at {place}")
        self.place = place


def skim(text: str, place: int) -> int:
    """Where the JSON that begins there ends. Raises `NotJson`."""
    closing: list[str] = []
    while True:
        if closing and (match := (members if closing[-1] == "}" else elements)(text, place)) is not None:
            place = match.end()
        match = token(text, place)
        if match is None:
            raise NotJson(place)
        place = match.end()
        kind = match.lastindex
        if kind == OPEN:
            closing.append("}" if match[OPEN] == "{" else "]")
        elif kind in (CLOSE, KEY) and closing[-1:] != [match[CLOSE] or "}"]:
            raise NotJson(place)
        elif kind == CLOSE:
            closing.pop()
        if not closing:
            return place


def documents(text: str) -> Iterator[tuple[int, int]]:
    """The JSON in a text: objects and arrays, and strings that are a line of their own (or an event's data). Futile attempts are bounded, so that no
    text costs its square."""
    patience = len(text) + 1000
    ahead = [begin.search(text) for begin in _BEGINS]
    ahead[0] = _FIRST.match(text) or ahead[0]
    while patience > 0 and any(ahead):
        start, number = min((match.end() - 1, number) for number, match in enumerate(ahead) if match is not None)
        try:
            place = end = skim(text, start)
            if number == 0 and _REST.match(text, end) is None:
                raise NotJson(end)
            yield start, end
        except NotJson as error:
            patience -= error.place - start + 10
            place = start + 1
        for number, match in enumerate(ahead):
            if match is not None and match.end() <= place:
                ahead[number] = _BEGINS[number].search(text, place)


def decoded(literal: str) -> str:
    """The string that a literal spells, quotes included. Lone surrogates stay."""
    if "\\" not in literal:
        return literal[1:-1]
    value: str = scanstring(literal, 1, False)[0]
    return value


def places(literal: str, wanted: Sequence[int]) -> list[int]:
    """Where in the literal these places of the string are, which must be in order."""
    if "\\" not in literal:
        return [place + 1 for place in wanted]
    found: list[int] = []
    begin, known = 1, 0  # up to there the literal spells so many characters
    for place in wanted:
        while (chunk := _CHUNK.match(literal, begin)) is not None and (length := known + len(decoded(f'"{chunk[0]}"'))) < place:
            begin, known = chunk.end(), length
        found += _before(_ESCAPE.finditer(literal, begin), [place], begin - known)
    return found


def in_prose(text: str) -> str:
    """Text that is no JSON, but has pieces of it: escapes that spell ASCII (`\\u0073k-`, `https:\\/\\/`) become what they spell."""
    return _ASCII.sub(lambda match: chr(int(match[1], 16)) if match[1] else "/", text)


def places_in_prose(text: str, wanted: Sequence[int]) -> list[int]:
    """Where in the text these places of `in_prose(text)` are, which must be in order."""
    return _before(_ASCII.finditer(text), wanted, 0)


def _before(escapes: Iterator[re.Match[str]], wanted: Sequence[int], shift: int) -> list[int]:
    """Places as they were before escapes became characters; `shift` is what stands before them all."""
    found: list[int] = []
    escape = next(escapes, None)
    for place in wanted:
        while escape is not None and escape.start() - shift < place:
            shift += len(escape[0]) - 1
            escape = next(escapes, None)
        found.append(place + shift)
    return found
