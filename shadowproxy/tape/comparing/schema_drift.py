"""How one JSON Schema differs from another, graded by what that does to a client. Pure code.

In: two schemas, and which way the values go. Out: `Change`s. A client sends what the input schema describes, so that narrowing it breaks clients; it reads
what the output schema describes, so that widening that does. What is not understood and differs is dangerous: somebody has to look.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from shadowproxy.tape.matching.jsondiff import ABSENT, format_pointer, short

Grade: TypeAlias = Literal["breaking", "dangerous", "minor", "info"]
GRADES: Final[tuple[Grade, ...]] = ("breaking", "dangerous", "minor", "info")
"""The worst first. Dangerous: nothing that a program notices, but a model may behave otherwise (a description changed is what a poisoned server looks like)."""
_TYPES: Final = frozenset({"null", "boolean", "object", "array", "integer", "fraction", "string"})
_FLOORS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_CEILINGS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_DEMANDS: Final = ("pattern", "format", "multipleOf", "uniqueItems", "const")
_WORDS: Final[dict[str, Grade]] = {"description": "dangerous", "default": "dangerous", "examples": "dangerous", "title": "info", "$schema": "info", "$id": "info",
                                   "$comment": "info"}  # fmt: skip
_OWN: Final = frozenset({*_FLOORS, *_CEILINGS, *_DEMANDS, *_WORDS, "type", "enum", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "$defs",
                         "definitions", "$ref"})  # fmt: skip
DEPTH: Final = 50


@attrs.frozen
class Change:
    """One thing that is other than it was. `subject`: what it is part of ("tool echo"); `pointer`: where in that."""

    grade: Grade
    subject: str
    pointer: str
    what: str
    old: Any = ABSENT
    new: Any = ABSENT

    def as_json(self) -> dict[str, Any]:
        values = {name: value for name, value in (("old", self.old), ("new", self.new)) if value is not ABSENT}
        return {"grade": self.grade, "subject": self.subject, "pointer": self.pointer, "what": self.what, **values}

    def __str__(self) -> str:
        values = [short(value) for value in (self.old, self.new) if value is not ABSENT]
        return f"{self.subject}{f' {self.pointer}' if self.pointer else ''}: {self.what}{': ' if values else ''}{' -> '.join(values)}"


class SchemaDrift:
    """`changes` of one schema against the one it replaces. `way`: "in" for what a client sends, "out" for what it reads."""

    def __init__(self, subject: str, old: Any, new: Any, way: Literal["in", "out"]) -> None:
        self._subject, self._old, self._new = subject, old, new
        self._narrowed: Grade = "breaking" if way == "in" else "minor"
        self._widened: Grade = "minor" if way == "in" else "breaking"
        self._seen: set[tuple[str, str]] = set()

    def changes(self, path: tuple[str, ...]) -> Iterator[Change]:
        return self._compare(self._old, self._new, path, 0)

    def _change(self, grade: Grade, path: tuple[str, ...], what: str, old: Any = ABSENT, new: Any = ABSENT) -> Change:
        return Change(grade, self._subject, format_pointer(path), what, old, new)

    def _compare(self, old: Any, new: Any, path: tuple[str, ...], depth: int) -> Iterator[Change]:
        pair = _reference(old), _reference(new)
        if (pair[0] or pair[1]) and pair in self._seen:
            return
        self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if old == new and not _references_in(old) and not _references_in(new):
            return
        if not isinstance(old, dict) or not isinstance(new, dict) or depth > DEPTH:
            if old != new:
                yield self._change("dangerous", path, "schema changed", old, new)
            return
        yield from self._words(old, new, path)
        yield from self._types(old, new, path)
        yield from self._values(old, new, path)
        yield from self._bounds(old, new, path)
        yield from self._members(old, new, path, depth)
        for name in ("items", "additionalProperties"):
            yield from self._part(name, old, new, path, depth)
        for name in ("anyOf", "oneOf"):
            yield from self._alternatives(name, old, new, path, depth)

    def _words(self, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
        for name in {**old, **new}:
            if old.get(name, ABSENT) != new.get(name, ABSENT) and (name in _WORDS or name not in _OWN):
                yield self._change(_WORDS.get(name, "dangerous"), (*path, name), f"{name} {_became(old, new, name)}", old.get(name, ABSENT), new.get(name, ABSENT))

    def _types(self, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
        before, now = _types(old), _types(new)
        if before - now:
            yield self._change(self._narrowed, (*path, "type"), "type narrowed", old.get("type", ABSENT), new.get("type", ABSENT))
        if now - before:
            yield self._change(self._widened, (*path, "type"), "type widened", old.get("type", ABSENT), new.get("type", ABSENT))

    def _values(self, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
        before, now = _enum(old), _enum(new)
        where = (*path, "enum")
        if before is None or now is None:
            if now is not None:
                yield self._change(self._narrowed, where, "restricted to certain values", new=new["enum"])
            elif before is not None:
                yield self._change(self._widened, where, "no longer restricted to certain values", old["enum"])
            return
        for key in before.keys() - now.keys():
            yield self._change(self._narrowed, where, "enum value removed", before[key])
        for key in now.keys() - before.keys():
            yield self._change(self._widened, where, "enum value added", new=now[key])

    def _bounds(self, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...]) -> Iterator[Change]:
        for name in (*_FLOORS, *_CEILINGS, *_DEMANDS):
            before, now = old.get(name, ABSENT), new.get(name, ABSENT)
            if before == now and type(before) is type(now):
                continue
            tighter = _tighter(name, before, now)
            grade = self._narrowed if tighter else self._widened if tighter is False else "breaking"
            yield self._change(grade, (*path, name), f"{name} {_became(old, new, name)}", before, now)

    def _members(self, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...], depth: int) -> Iterator[Change]:
        before, now = _object(old.get("properties")), _object(new.get("properties"))
        needed, needs = _names(old.get("required")), _names(new.get("required"))
        for name in {**before, **now}:
            where = (*path, "properties", name)
            if name not in now:
                yield self._change("breaking", where, "member removed", before[name])
            elif name not in before:
                added: Grade = self._narrowed if name in needs else "minor"
                yield self._change(added, where, "required member added" if name in needs else "optional member added", new=now[name])
            else:
                yield from self._compare(before[name], now[name], where, depth + 1)
        for name in sorted(needs - needed):
            if name in before or name not in now:
                yield self._change(self._narrowed, (*path, "required"), "became required", new=name)
        for name in sorted(needed - needs):
            if name in now or name not in before:
                yield self._change(self._widened, (*path, "required"), "no longer required", name)

    def _part(self, name: str, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...], depth: int) -> Iterator[Change]:
        """A schema that stands for any value when it is not there."""
        before, now = old.get(name, True), new.get(name, True)
        if before == now and not _references_in(before):
            return
        if isinstance(before, dict) and isinstance(now, dict):
            yield from self._compare(before, now, (*path, name), depth + 1)
        elif before in (True, {}) or now is False:
            yield self._change(self._narrowed, (*path, name), f"{name} restricted", old.get(name, ABSENT), new.get(name, ABSENT))
        else:
            yield self._change(self._widened, (*path, name), f"{name} no longer restricted so", old.get(name, ABSENT), new.get(name, ABSENT))

    def _alternatives(self, name: str, old: dict[str, Any], new: dict[str, Any], path: tuple[str, ...], depth: int) -> Iterator[Change]:
        before, now = old.get(name, ABSENT), new.get(name, ABSENT)
        if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
            for at, (left, right) in enumerate(zip(before, now, strict=True)):
                yield from self._compare(left, right, (*path, name, str(at)), depth + 1)
            return
        lost, gained = ([one for one in left if one not in right] for left, right in ((_list(before), _list(now)), (_list(now), _list(before))))
        if before is ABSENT or now is ABSENT:
            if before is not now:
                yield self._change(self._widened if now is ABSENT else self._narrowed, (*path, name), f"{name} {_became(old, new, name)}", before, now)
            return
        for one in lost:
            yield self._change(self._narrowed, (*path, name), "alternative removed", one)
        for one in gained:
            yield self._change(self._widened, (*path, name), "alternative added", new=one)


def _became(old: dict[str, Any], new: dict[str, Any], name: str) -> str:
    return "added" if name not in old else "removed" if name not in new else "changed"


def _types(schema: dict[str, Any]) -> frozenset[str]:
    """The types it allows; a number is an integer or a fraction."""
    said = schema.get("type", ABSENT)
    names = _TYPES if said is ABSENT else _names([said] if isinstance(said, str) else said)
    return frozenset(part for name in names for part in (("integer", "fraction") if name == "number" else (name,)))


def _enum(schema: dict[str, Any]) -> dict[bytes, Any] | None:
    values = schema.get("enum")
    return {msgspec.json.encode(value, order="sorted"): value for value in values} if isinstance(values, list) else None


def _tighter(name: str, before: Any, now: Any) -> bool | None:
    """Whether the new bound allows less; None when that cannot be said."""
    if before is ABSENT or now is ABSENT:
        return before is ABSENT
    if name in _DEMANDS or not isinstance(before, int | float) or not isinstance(now, int | float):
        return None if name != "uniqueItems" else now is True
    return now > before if name in _FLOORS else now < before


def _reference(schema: Any) -> str:
    said = schema.get("$ref") if isinstance(schema, dict) else None
    return said if isinstance(said, str) else ""


def _resolved(schema: Any, root: Any) -> Any:
    """What a reference within the schema stands for, with what is said beside it; True and False as the schemas that they are."""
    for _ in range(DEPTH):
        reference = _reference(schema)
        if not reference.startswith("#"):
            break
        found: Any = root
        for part in reference[1:].split("/")[1:]:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**found, **beside} if isinstance(found, dict) else {**beside, "not found": reference}
    return {} if schema is True else {"not": {}} if schema is False else schema


def _references_in(schema: Any) -> bool:
    """Whether equal words may mean different things, because they refer to others."""
    return b'"$ref"' in msgspec.json.encode(schema)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> frozenset[str]:
    return frozenset(name for name in _list(value) if isinstance(name, str))
