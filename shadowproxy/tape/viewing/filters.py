"""The filter language: `method:tools/call & tool:search & dur>200ms & !err`. Text -> a function that says whether a row is meant. Pure code.

In: the text of a filter. Out: a predicate of `Row`s, or `FilterError`, which points at the column and says what was expected there.
The grammar is here, what the conditions mean is in `conditions.py`. `!` binds tightest, then `&` (or nothing between two conditions), then `|`.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError

from shadowproxy.tape.viewing.conditions import NoSuchThing, Predicate, field, holds, matching, quantity, word

MAX_LENGTH: Final = 10_000
"""Characters of a filter: far more than anybody writes, and few enough for what reads them."""
MAX_DEPTH: Final = 100
"""Brackets and negations within one another."""

_GRAMMAR: Final = r"""
    start: either
    ?either: both ("|" both)*
    ?both: negation ("&"? negation)*
    ?negation: "!" negation -> no
        | "(" either ")"
        | FIELD (VALUE | STRING) -> field
        | QUANTITY COMPARISON AMOUNT -> quantity
        | TEXT (VALUE | STRING) -> matching
        | STRING -> words
        | WORD -> word

    FIELD.2: /[A-Za-z_]+[ \t]*:/
    QUANTITY.2: /[A-Za-z_]+(?=[ \t]*[<>=])/
    COMPARISON: /[<>]=?|==?/
    AMOUNT: /[0-9]+(\.[0-9]+)?[A-Za-zµ]*/
    TEXT.2: /[A-Za-z_]+[ \t]*~/
    WORD: /[A-Za-z_][\w\/.*-]*/
    STRING: /"(?:[^"\\]|\\.)*"/
    VALUE: /[^\s&|()"]+/
    %ignore /\s+/
"""
_CONDITION: Final = "a condition (method:…, tool:…, dur>…, err, \"text\", ! or a bracket)"
_WORDS: Final = {
    "VALUE": "a value", "STRING": "a text in quotes", "AMOUNT": "a number, as in 200ms or 10kb", "COMPARISON": "one of > < >= <= =",
    "VBAR": "|", "AMPERSAND": "&", "RPAR": ")", "$END": "the end",
}  # fmt: skip
_BEGINS_CONDITION: Final = frozenset(("FIELD", "QUANTITY", "TEXT", "WORD", "BANG", "LPAR"))


class FilterError(ValueError):
    """This text is no filter: the text itself with a caret under what is wrong, and what was expected. `column` counts from 1."""

    def __init__(self, text: str, column: int, what: str) -> None:
        shown = "".join(character if character.isprintable() else " " for character in text)
        super().__init__(f"{shown}\n{' ' * (column - 1)}^\ncolumn {column}: {what}")
        self.column = column
        self.what = what


def compile_filter(text: str) -> Predicate:
    """The predicate that a filter means. Raises `FilterError`."""
    if len(text) > MAX_LENGTH:
        raise FilterError(text[:60] + "…", 61, f"a filter has at most {MAX_LENGTH} characters")
    _check_depth(text)
    if not text.strip():
        raise FilterError(text, 1, f"expected {_CONDITION}, but there is nothing")
    try:
        predicate: Predicate = _Meaning().transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise _pointed(text, error) from None
    except VisitError as error:
        if isinstance(error.orig_exc, _At):
            raise FilterError(text, error.orig_exc.column, str(error.orig_exc)) from None
        raise
    return predicate


class _At(Exception):
    """A condition that parses and cannot be meant, and where."""

    def __init__(self, what: str, column: int) -> None:
        super().__init__(what)
        self.column = column


class _Meaning(Transformer[Token, Predicate]):
    """The tree of a filter -> its predicate, from the leaves up."""

    def start(self, parts: list[Predicate]) -> Predicate:
        return parts[0]

    def either(self, parts: list[Predicate]) -> Predicate:
        return lambda row: any(part(row) for part in parts)

    def both(self, parts: list[Predicate]) -> Predicate:
        return lambda row: all(part(row) for part in parts)

    def no(self, parts: list[Predicate]) -> Predicate:
        return lambda row: not parts[0](row)

    def field(self, tokens: list[Token]) -> Predicate:
        value = tokens[1]
        return _made(tokens, lambda: field(_name(tokens[0]), _unquoted(value), literal=value.type == "STRING"))

    def quantity(self, tokens: list[Token]) -> Predicate:
        return _made(tokens, lambda: quantity(str(tokens[0]), str(tokens[1]), str(tokens[2])))

    def matching(self, tokens: list[Token]) -> Predicate:
        return _made(tokens, lambda: matching(_name(tokens[0]), _unquoted(tokens[1])))

    def words(self, tokens: list[Token]) -> Predicate:
        return holds(_unquoted(tokens[0]))

    def word(self, tokens: list[Token]) -> Predicate:
        return _made(tokens, lambda: word(str(tokens[0])))


def _made(tokens: list[Token], make: Callable[[], Predicate]) -> Predicate:
    try:
        return make()
    except NoSuchThing as error:
        token = tokens[-1] if error.of_value else tokens[0]
        raise _At(str(error), (token.start_pos or 0) + 1) from None


def _name(token: Token) -> str:
    return token[:-1].rstrip()


def _unquoted(token: Token) -> str:
    return re.sub(r'\\(["\\])', r"\1", token[1:-1]) if token.type == "STRING" else str(token)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual")


def _check_depth(text: str) -> None:
    """What is read recursively must end somewhere."""
    depth = negations = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[!()]|[^\s!()"]+', text):
        mark = match[0]
        negations = negations + 1 if mark == "!" else 0
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if depth > MAX_DEPTH or negations > MAX_DEPTH:
            raise FilterError(text, match.start() + 1, f"a filter has at most {MAX_DEPTH} brackets or negations within one another")


def _pointed(text: str, error: UnexpectedInput) -> FilterError:
    """What the parser says, in words."""
    if isinstance(error, UnexpectedToken):
        ended = error.token.type == "$END"
        place = len(text.rstrip()) if ended else error.token.start_pos or 0
        expected, found = set(error.expected), "the end" if ended else repr(str(error.token))
    else:
        place = error.pos_in_stream or 0
        expected, found = set(getattr(error, "allowed", None) or ()), repr(text[place : place + 1])
        if isinstance(error, UnexpectedCharacters) and text[place] == '"':
            return FilterError(text, place + 1, "a quote is opened and never closed")
    if "(" not in text:
        expected.discard("RPAR")
    words = [_CONDITION] if expected & _BEGINS_CONDITION else []
    words += [_WORDS[name] for name in _WORDS if name in expected and not (words and name == "STRING")]
    return FilterError(text, place + 1, f"expected {', '.join(words[:-1])}{' or ' * (len(words) > 1)}{words[-1]}, not {found}")
