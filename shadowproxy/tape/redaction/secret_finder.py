"""What a policy finds in a text, be it JSON, text with JSON in it, or prose. Pure code.

In: a text. Out: `Secret`s, in order and apart. JSON is walked (`secret_walk.py`), at whatever depth of strings that hold JSON; the rest is searched.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from shadowproxy.tape.redaction.json_literal import NotJson, decoded, documents, in_prose, places_in_prose
from shadowproxy.tape.redaction.redaction import Redaction, segments
from shadowproxy.tape.redaction.secret_names import secret_name, squeezed
from shadowproxy.tape.redaction.secret_shapes import SHAPES, Shape, spans_of
from shadowproxy.tape.redaction.secret_walk import Key, Secret, Walk
from shadowproxy.tape.redaction.suspicion import Clue, Suspicion, moved, within

KEYS_KNOWN: Final = 4096
KEY_LENGTH: Final = 100
"""Names of members up to this length are remembered with their verdict, this many of them; and of other texts those in which there was nothing."""
SHORTEST: Final = 6
"""Characters of the shortest text that holds a name and a secret."""


class Finder:
    """A policy, ready to search, and `further` shapes. With pointers, patterns, callables, shapes without a clue, every text is searched in full."""

    def __init__(self, redaction: Redaction, further: Iterable[Shape] = ()) -> None:
        without = frozenset(redaction.without)
        self._without = without
        more = [*further, *(Shape("pattern", None, re.compile(pattern)) for pattern in redaction.patterns)]
        self._shapes = [shape for shape in (*SHAPES, *more) if shape.name not in without]
        self._prose = "assigned" not in without
        self._names = tuple(filter(None, map(squeezed, redaction.keys)))
        self._pointers = tuple(segments(pointer) for pointer in redaction.pointers)
        self._judges = redaction.callables
        self._tells_where = bool(self._judges or more)
        self._suspicion = Suspicion(self._names, further=bool(more))
        plain = all(map(str.isascii, self._names))  # other letters have more spellings than can be looked for
        self._always = bool(self._pointers or self._judges or not plain or any(shape.clue is None for shape in more))
        self._keys: dict[str, Key] = {}
        self._harmless: set[str] = set()

    def needs_look(self, data: bytes) -> bool:
        """Whether a message may hold a secret: False is certain, and cheap."""
        return self._always or self._suspicion.of_bytes(data)

    def message(self, text: str) -> list[Secret]:
        """Of a message, which is JSON, or else a text like any other."""
        try:
            return Walk(self, text, pointers=self._pointers, clues=self._clues(text)).run(0)[1]
        except NotJson:
            return self.text(text)

    def text(self, text: str, where: str = "", clues: Sequence[Clue] | None = None) -> list[Secret]:
        """Of any text; `where` is what the callables are told, `clues` what is known of it."""
        if self._judges and text and any(self._judge(judge, where, text) for judge in self._judges):
            return [Secret(0, len(text), "callable", text)]
        return self._search(text, where, clues)

    def key(self, literal: str) -> Key:
        """Of a member's name, in quotes."""
        known = self._keys.get(literal)
        if known is None:
            name = decoded(literal)
            known = Key(name, self.name_rule(name), self._search(name, ""))
            if len(literal) <= KEY_LENGTH:
                if len(self._keys) >= KEYS_KNOWN:
                    self._keys.clear()
                self._keys[literal] = known
        return known

    def name_rule(self, name: str) -> str | None:
        """The rule by which what this name names is secret."""
        rule = secret_name(name)
        if rule is None and self._names and squeezed(name) in self._names:
            rule = "key"
        return None if rule in self._without else rule

    @property
    def tells_where(self) -> bool:
        """Whether anybody asks where a text is, which costs something to find out: callables do, and who looks for further shapes."""
        return self._tells_where

    @staticmethod
    def _judge(judge: object, where: str, text: str) -> bool:
        assert callable(judge)
        try:
            return bool(judge(where, text))
        except Exception:
            return True  # who cannot tell says secret: what is redacted too much can be recorded again, what leaked cannot be taken back

    def _clues(self, text: str) -> list[Clue] | None:
        """None if what is looked for could be anywhere."""
        return None if self._always else self._suspicion.clues(text)

    def _search(self, text: str, where: str, clues: Sequence[Clue] | None = None) -> list[Secret]:
        if text in self._harmless or (len(text) < SHORTEST and not self._always):
            return []
        clues = self._clues(text) if clues is None else clues
        found = list(self._among(text, where, clues)) if clues is None or clues else []
        if not found and len(text) <= KEY_LENGTH and not self._judges:  # most short texts are said again and again
            if len(self._harmless) >= KEYS_KNOWN:
                self._harmless.clear()
            self._harmless.add(text)
        return found

    def _among(self, text: str, where: str, clues: Sequence[Clue] | None) -> Iterator[Secret]:
        """Document by document, and what is between them; only where there is a clue."""
        place = 0
        for start, end in (*documents(text), (len(text), len(text))):
            if place < start and (clues is None or within(clues, place, start)):
                yield from self._in_prose(text[place:start], place, clues)
            if start < end and (clues is None or within(clues, start, end)):
                yield from Walk(self, text, where=where, clues=clues).run(start)[1]
            place = end

    def _in_prose(self, piece: str, offset: int, clues: Sequence[Clue] | None) -> Iterator[Secret]:
        text = in_prose(piece)
        own = self._clues(text) if clues is None or text != piece else moved(within(clues, offset, offset + len(piece)), -offset)
        spans = spans_of(text, self._shapes, self._prose, own)
        ends = iter(places_in_prose(piece, [place for a, b, _ in spans for place in (a, b)]))
        return (Secret(offset + next(ends), offset + next(ends), rule, text[a:b]) for a, b, rule in spans)
