"""What a policy finds in a text, be it JSON, text with JSON in it, or prose. Pure code.

In: a text. Out: `Secret`s, in order and apart. JSON is walked (`secret_walk.py`), at whatever depth of strings that hold JSON; the rest is searched.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from shadowproxy.tape.redaction.json_literal import NotJson, decoded, in_prose, places_in_prose, skim
from shadowproxy.tape.redaction.redaction import Redaction, segments
from shadowproxy.tape.redaction.secret_names import secret_name, squeezed
from shadowproxy.tape.redaction.secret_shapes import SHAPES, Shape, gaps, spans_of
from shadowproxy.tape.redaction.secret_walk import Key, Secret, Walk
from shadowproxy.tape.redaction.suspicion import bytes_suspicious, hits, in_lower_case, mentions, suspicious

KEYS_KNOWN: Final = 4096
KEY_LENGTH: Final = 100
"""Names of members up to this length are remembered with their verdict, this many of them; and of other texts those in which there was nothing."""
SHORTEST: Final = 6
"""Characters of the shortest text that holds a name and a secret."""
_BEGIN: Final = re.compile(r"\{(?=\s*[\"}])|\[(?=\s*[\"{\[\]0-9tfn-])|(?P<line>^(?:data:)?[ \t]*(?=\"))", re.MULTILINE)
_REST: Final = re.compile(r"[ \t\r]*$", re.MULTILINE)


class Finder:
    """A policy, ready to search. `further` shapes and whatever was configured in patterns and callables: then every text is searched in full."""

    def __init__(self, redaction: Redaction, further: Iterable[Shape] = ()) -> None:
        without = frozenset(redaction.without)
        self._without = without
        more = [*further, *(Shape("pattern", ("",), re.compile(pattern), bool) for pattern in redaction.patterns)]
        self._shapes = [shape for shape in (*SHAPES, *more) if shape.name not in without]
        self._prose = "assigned" not in without
        self._names = tuple(filter(None, map(squeezed, redaction.keys)))
        self._pointers = tuple(segments(pointer) for pointer in redaction.pointers)
        self._judges = redaction.callables
        self._always = bool(more or self._pointers or self._judges)
        self._keys: dict[str, Key] = {}
        self._harmless: set[str] = set()

    def needs_look(self, data: bytes) -> bool:
        """Whether a message may hold a secret: False is certain, and cheap."""
        return self._always or bytes_suspicious(data) or bool(self._names and mentions(str(data.lower(), "latin-1"), self._names))

    def message(self, text: str) -> list[Secret]:
        """Of a message, which is JSON, or else a text like any other."""
        try:
            return Walk(self, text, pointers=self._pointers, hits=self._hits(text)).run(0)[1]
        except NotJson:
            return self.text(text)

    def text(self, text: str, where: str = "") -> list[Secret]:
        """Of any text; `where` is what the callables are told."""
        if self._judges and text and any(self._judge(judge, where, text) for judge in self._judges):
            return [Secret(0, len(text), "callable", text)]
        return self._search(text, where)

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
    def judges(self) -> bool:
        """Whether callables are asked, so that they must be told where they are."""
        return bool(self._judges)

    @staticmethod
    def _judge(judge: object, where: str, text: str) -> bool:
        assert callable(judge)
        try:
            return bool(judge(where, text))
        except Exception:
            return True  # who cannot tell says secret: what is redacted too much can be recorded again, what leaked cannot be taken back

    def _may(self, text: str) -> bool:
        if len(text) < SHORTEST:
            return False
        lowered = text.lower()
        return suspicious(text, lowered) or bool(self._names and mentions(lowered, self._names))

    def _hits(self, text: str) -> list[int] | None:
        """Where something suspicious is; None if what is configured could be anywhere."""
        return None if self._always or self._names else list(hits(in_lower_case(text)))

    def _search(self, text: str, where: str) -> list[Secret]:
        if text in self._harmless or (not self._always and not self._may(text)):
            return []
        found: list[Secret] = []
        documents: list[tuple[int, int]] = []
        places = self._hits(text)
        for start, end in self._documents(text):
            documents.append((start, end))
            nearby = None if places is None else (places[i] for i in range(bisect_left(places, start), len(places)))
            found += Walk(self, text, where=where, hits=nearby).run(start)[1]
        for start, end in gaps(text, documents):
            found += self._in_prose(text[start:end], start)
        if not found and not documents and len(text) <= KEY_LENGTH:  # most short texts are said again and again
            if len(self._harmless) >= KEYS_KNOWN:
                self._harmless.clear()
            self._harmless.add(text)
        return sorted(found, key=lambda secret: secret.start) if documents else found

    def _in_prose(self, piece: str, offset: int) -> Iterator[Secret]:
        text = in_prose(piece)
        spans = spans_of(text, self._shapes, self._prose)
        ends = iter(places_in_prose(piece, [place for a, b, _ in spans for place in (a, b)]))
        return (Secret(offset + next(ends), offset + next(ends), rule, text[a:b]) for a, b, rule in spans)

    @staticmethod
    def _documents(text: str) -> Iterator[tuple[int, int]]:
        """The JSON in a text: objects and arrays, and strings that are a line of their own (or an event's data). Futile attempts are bounded, so that no
        text costs its square."""
        patience = len(text) + 1000
        place = 0
        while patience > 0 and (begin := _BEGIN.search(text, place)) is not None:
            start = begin.end() if begin["line"] is not None else begin.start()
            try:
                end = skim(text, start)
                if begin["line"] is not None and _REST.match(text, end) is None:
                    raise NotJson(end)
            except NotJson as error:
                patience -= error.place - start + 10
                place = start + 1
            else:
                yield start, end
                place = end
