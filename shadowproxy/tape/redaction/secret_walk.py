"""Walking JSON for secrets: token by token over its own text, never decoded and encoded, so that all but the secrets stays as it was. Pure code.

In: text, and where in it JSON begins. Out: where that ends, and its `Secret`s. What a name or a text means is asked of the policy (`secret_finder.py`).
What holds nothing suspicious is passed by in C. A secret name makes all that it names secret, but for the words of a JSON schema: a tool's argument "password" is described by one.
"""
from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import attrs

from shadowproxy.tape.redaction.json_literal import CLOSE, KEY, OPEN, STRING, NotJson, decoded, element, members, places, token
from shadowproxy.tape.redaction.secret_names import SCHEMA_SIGNS, SCHEMA_TYPES, SCHEMA_WORDS
from shadowproxy.tape.redaction.secret_shapes import TOKEN
from shadowproxy.tape.redaction.suspicion import Clue, moved, within

_NAME_LIKE: Final = re.compile(r"[\w.-]{1,64}(?: [\w.-]{1,64})?\Z").match
"""What a name may look like, in {"name": …, "value": …}: sentences end with such words too."""
FAR: Final = 1 << 16
"""Characters that are passed by in one go at most: what is tried in vain is tried again at every level."""
_OPTION: Final = re.compile(r"--?[\w-]{1,64}\Z").match
_WORD: Final = re.compile(r"[^\s-]\S*\Z").match
Match: TypeAlias = "re.Match[str]"


@attrs.frozen
class Secret:
    """One secret and where it is: `text[start:end]` spells `value`. `quote` goes around what replaces it: that of a number becomes a string."""

    start: int
    end: int
    rule: str
    value: str
    where: str = ""
    quote: str = ""


@attrs.frozen
class Key:
    """A member's name: the rule that makes its value secret, and the secrets in the name itself."""

    name: str
    rule: str | None
    secrets: list[Secret]


class Policy(Protocol):
    """Whom the walk asks."""

    @property
    def tells_where(self) -> bool: ...
    def key(self, literal: str) -> Key: ...
    def name_rule(self, name: str) -> str | None: ...
    def text(self, text: str, where: str = "", clues: Sequence[Clue] | None = None) -> list[Secret]: ...


@attrs.define(eq=False)
class _Level:
    """An object or an array under way, and what is known of it before it ends."""

    array: bool
    step: str | int
    rule: str | None  # it belongs to a secret name, and so does all in it
    pointed: bool  # somebody pointed at it: schema or not
    key_rule: str | None = None  # of the member under way, or of the element behind an option
    option: str | None = None  # the rule of the element under way, if it is an option: what comes behind it is secret
    schema: bool = False
    words: list[Secret] = attrs.field(factory=list)  # secrets unless this is a schema
    owner: _Level | None = None  # an array among the words of this schema
    named: str | None = None  # the rule of the name in {"name": …, "value": …}
    value: Secret | None = None


class Walk:
    """One walk over one document. `pointers`: places that are secret. `clues`: what is known of the text; None: a secret could be anywhere."""

    def __init__(self, policy: Policy, text: str, *, pointers: tuple[tuple[str, ...], ...] = (), where: str = "",
                 clues: Sequence[Clue] | None = None) -> None:  # fmt: skip
        self._policy = policy
        self._text = text
        self._pointers = pointers
        self._base = where
        self._tells_where = policy.tells_where
        self._levels: list[_Level] = []
        self._found: list[Secret] = []
        self._clues = clues
        self._next = 0  # the clue that comes next
        self._hit = -1  # and where it is

    def run(self, place: int) -> tuple[int, list[Secret]]:
        """Raises `NotJson`."""
        levels = self._levels
        kind: int | None = None
        while True:
            if self._clues is not None:
                if self._hit < place:
                    self._find_next(self._clues, place)
                if kind != KEY and levels and not (levels[-1].rule or levels[-1].key_rule):
                    place = self._pass_by(levels[-1], place)
            match = token(self._text, place)
            if match is None:
                raise NotJson(place)
            place = match.end()
            kind = match.lastindex
            if kind == KEY:
                self._key(match)
                continue
            if kind == OPEN:
                self._open(match[OPEN] == "[")
                continue
            if kind == STRING:
                self._string(match)
            elif kind == CLOSE:
                self._close(match[CLOSE] == "]", place)
            else:
                self._scalar(match)
            if not levels:
                return place, _apart(self._found)
            level = levels[-1]
            if level.array:
                level.step += 1  # type: ignore[operator]  # of an array it is a number
                level.key_rule, level.option = level.option, None

    def _find_next(self, clues: Sequence[Clue], place: int) -> None:
        self._next = bisect_left(clues, (place,), self._next)
        self._hit = clues[self._next][0] if self._next < len(clues) else len(self._text) + 1

    def _pass_by(self, level: _Level, place: int) -> int:
        """Past what holds nothing suspicious and belongs to no secret name."""
        if not level.array:
            while (match := members(self._text, place, min(self._hit, place + FAR))) is not None and match.end() > place:
                place = match.end()
            return place
        while (match := element(self._text, place, min(self._hit, place + FAR))) is not None:
            place = match.end()
            level.step += 1  # type: ignore[operator]  # of an array it is a number
        return place

    def _key(self, match: Match) -> None:
        if not self._levels or self._levels[-1].array:
            raise NotJson(match.start())
        level = self._levels[-1]
        key = self._policy.key(match[STRING])
        level.step, level.key_rule = key.name, key.rule
        if level.rule and key.name in SCHEMA_SIGNS:
            level.schema = True
        if key.secrets:
            self._parts(match, key.secrets)

    def _open(self, array: bool) -> None:
        rule, pointed = self._rule()
        level = _Level(array, 0 if array else "", rule, pointed)
        if array and rule and self._levels and self._levels[-1].rule and self._levels[-1].step in SCHEMA_WORDS and not self._levels[-1].array:
            level.owner = self._levels[-1]
        self._levels.append(level)

    def _close(self, array: bool, place: int) -> None:
        if not self._levels or self._levels[-1].array != array:
            raise NotJson(place)
        level = self._levels.pop()
        if level.words and (not level.schema or level.pointed):
            self._found += level.words
        if level.named and level.value:
            self._found.append(attrs.evolve(level.value, rule=level.named))

    def _string(self, match: Match) -> None:
        literal = match[STRING]
        start, end = match.span(STRING)
        rule, pointed = self._rule()
        level = self._levels[-1] if self._levels else None
        harmless = self._clues is not None and self._hit >= end
        if harmless and end - start > FAR and rule is None and (level is None or level.step != "value"):
            return
        value = decoded(literal)
        whole = None
        if value and TOKEN.fullmatch(value) is None:
            whole = Secret(start + 1, end - 1, rule or "", value, self._where())
        if level is not None:
            self._learn(level, value, whole)
            if level.array and rule and not level.rule and not pointed and not _WORD(value):
                rule = None
        if rule and whole and self._secret(whole, pointed):
            return
        if harmless:
            return
        clues = None if self._clues is None or "\\" in literal else moved(within(self._clues, start, end), -start - 1)
        parts = self._policy.text(value, self._where(), clues)
        if parts:
            self._parts(match, parts)

    def _scalar(self, match: Match) -> None:
        rule, pointed = self._rule()
        start, end = match.span(match.lastindex or 0)
        text = self._text[start:end]
        secret = Secret(start, end, rule or "", text, self._where(), '"')
        number = text[0] not in "tfn"
        if self._levels and self._levels[-1].step == "value" and number:
            self._levels[-1].value = secret
        if rule and (number or pointed):
            self._secret(secret, pointed)

    def _rule(self) -> tuple[str | None, bool]:
        """The rule that makes the value that comes now a secret, and whether somebody pointed at it."""
        if not self._levels:
            return None, False
        level = self._levels[-1]
        if level.pointed:
            return level.rule, True
        if self._pointers and any(self._is_at(pointer) for pointer in self._pointers):
            return "pointer", True
        return level.rule or level.key_rule, False

    def _is_at(self, pointer: tuple[str, ...]) -> bool:
        return len(pointer) == len(self._levels) and all(step in ("*", str(level.step)) for step, level in zip(pointer, self._levels, strict=True))

    def _secret(self, secret: Secret, pointed: bool) -> bool:
        """Take note. False: that depends on whether the object turns out to be a schema."""
        level = self._levels[-1]
        owner = level.owner or level
        if not pointed and owner.rule and (level.owner or (not level.array and level.step in SCHEMA_WORDS)):
            owner.words.append(secret)
            return False
        self._found.append(secret)
        return True

    def _learn(self, level: _Level, value: str, whole: Secret | None) -> None:
        """What a string says about the object that it is in."""
        owner = level.owner or level
        if owner.rule and owner.step == "type" and value in SCHEMA_TYPES:
            owner.schema = True
        if level.step in ("name", "key"):
            level.named = self._policy.name_rule(value) if _NAME_LIKE(value) else None
        elif level.step == "value" and whole is not None:
            level.value = whole
        elif level.array and _OPTION(value):
            level.option = self._policy.name_rule(value)

    def _parts(self, match: Match, parts: list[Secret]) -> None:
        """Secrets in a string, as places of the text that it is in."""
        found = iter(places(match[STRING], [place for part in parts for place in (part.start, part.end)]))
        begin = match.start(STRING)
        where = self._where()
        for part in parts:
            quote = json.dumps(part.quote)[1:-1]
            self._found.append(Secret(begin + next(found), begin + next(found), part.rule, part.value, where, quote))

    def _where(self) -> str:
        if not self._tells_where:
            return ""
        return self._base + "".join("/" + str(level.step).replace("~", "~0").replace("/", "~1") for level in self._levels)


def _apart(secrets: list[Secret]) -> list[Secret]:
    """In order, without those that are inside others."""
    found: list[Secret] = []
    for secret in sorted(secrets, key=lambda secret: (secret.start, -secret.end)):
        if not found or secret.start >= found[-1].end:
            found.append(secret)
    return found
