"""Drift: how the surface of a server (its tools, prompts, resources, what it says of itself) differs from what it was, graded.

In: two listings, or tapes. Out: `Change`s, breaking, dangerous, minor or info; the worst grade. `run` is what the command line calls: of one tape it
compares each listing with the one before it, whatever the session; of two, the last listings of each. Reads a tape as it streams.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from shadowproxy.tape.comparing.drift_report import Format, write_drift
from shadowproxy.tape.comparing.schema_drift import GRADES, Change, Grade, SchemaDrift
from shadowproxy.tape.comparing.surface import Items, Listing, SurfaceReader
from shadowproxy.tape.matching.jsondiff import ABSENT, format_pointer
from shadowproxy.tape.reader import Reading

NAMES: Final = {"tools": "tool", "prompts": "prompt", "resources": "resource", "resourceTemplates": "resource template", "server": "server"}
_IGNORED: Final = frozenset({"_meta", "inputSchema", "outputSchema", "arguments", "annotations", "capabilities", "supportedVersions"})
_INFO: Final = frozenset({"name", "title", "icons", "size", "version", "websiteUrl"})
_MINOR: Final = frozenset({"protocolVersion"})


def drift(old: Listing, new: Listing) -> list[Change]:
    """What has become of the items of one kind; the worst first."""
    noun, found = NAMES[old.kind], []
    if old.kind == "server":
        found += [change for before, now in zip(old.items.values(), new.items.values(), strict=False) for change in _item("server", "server", before, now)]
        found += _renamed(old.items, new.items)
        return _worst_first(found)
    for name in {**old.items, **new.items}:
        subject = f"{noun} {name}"
        if name not in new.items:
            found.append(Change("breaking", subject, "", "removed"))
        elif name not in old.items:
            found.append(Change("minor", subject, "", "added"))
        else:
            found += _item(old.kind, subject, old.items[name], new.items[name])
    shared = [[name for name in side if name in old.items and name in new.items] for side in (old.items, new.items)]
    if shared[0] != shared[1]:
        found.append(Change("info", f"{old.kind}", "", "order changed"))
    return _worst_first(found)


def surface_drift(old: Mapping[str, Listing], new: Mapping[str, Listing]) -> list[Change]:
    """Of all kinds that both tapes list; of what only one does there is nothing to compare, which is said."""
    found = [change for kind in NAMES if kind in old and kind in new for change in drift(old[kind], new[kind])]
    found += [Change("info", kind, "", f"listed on the {'first' if kind in old else 'second'} tape only") for kind in NAMES if (kind in old) != (kind in new)]
    return _worst_first(found)


def worst(changes: Iterable[Change]) -> Grade | None:
    return min((change.grade for change in changes), key=GRADES.index, default=None)


def reaches(grade: Grade | None, on: Grade) -> bool:
    """Whether it is as bad as `on`, or worse."""
    return grade is not None and GRADES.index(grade) <= GRADES.index(on)


def run(tapes: Sequence[Path], format: Format, out: TextIO) -> Grade | None:
    """Write what has drifted within one tape, or from the first of two to the second; give the worst grade. Raises `Unreadable`, `OSError`."""
    if len(tapes) == 1:
        with Reading(tapes[0]) as reading:
            found = list(_between_sessions(reading))
    else:
        found = [("", surface_drift(*map(surface_of, tapes)))]
    write_drift([(title, changes) for title, changes in found if changes], format, out)
    return worst(change for _, changes in found for change in changes)


def surface_of(tape: Path) -> Mapping[str, Listing]:
    """What the server listed last."""
    reader = SurfaceReader()
    with Reading(tape) as reading:
        for frame in reading:
            reader.take(frame)
    return reader.latest


def _between_sessions(reading: Reading) -> Iterator[tuple[str, list[Change]]]:
    reader = SurfaceReader()
    for frame in reading:
        before = dict(reader.latest)
        listing = reader.take(frame)
        if listing is not None and (old := before.get(listing.kind)) is not None:
            yield f"{listing.kind}, {_place(old)} -> {_place(listing)}", drift(old, listing)


def _place(listing: Listing) -> str:
    return f"frame {listing.n}" if listing.session is None else f"{listing.session} (frame {listing.n})"


def _worst_first(changes: Iterable[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: GRADES.index(change.grade))


def _renamed(old: Items, new: Items) -> Iterator[Change]:
    if list(old) != list(new):
        yield Change("info", "server", "/name", "name changed", next(iter(old), ""), next(iter(new), ""))


def _item(kind: str, subject: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """One tool, prompt, resource, template, or the server itself."""
    for name in {**old, **new}:
        before, now = old.get(name, ABSENT), new.get(name, ABSENT)
        if name not in _IGNORED and before != now and not (kind == "server" and name == "name"):
            grade: Grade = "info" if name in _INFO else "minor" if name in _MINOR else "dangerous"
            yield Change(grade, subject, format_pointer((name,)), f"{name} {_became(before, now)}", before, now)
    yield from _hints(kind, subject, old.get("annotations"), new.get("annotations"))
    if kind == "tools":
        yield from SchemaDrift(subject, old.get("inputSchema", {}), new.get("inputSchema", {}), "in").changes(("inputSchema",))
        yield from _output(subject, old.get("outputSchema", ABSENT), new.get("outputSchema", ABSENT))
    elif kind == "prompts":
        yield from _arguments(subject, _by_name(old.get("arguments")), _by_name(new.get("arguments")))
    elif kind == "server":
        yield from _abilities(subject, old.get("capabilities"), new.get("capabilities"), ("capabilities",))
        yield from _versions(subject, old.get("supportedVersions"), new.get("supportedVersions"))


def _became(before: Any, now: Any) -> str:
    return "added" if before is ABSENT else "removed" if now is ABSENT else "changed"


def _hints(kind: str, subject: str, old: Any, new: Any) -> Iterator[Change]:
    """Annotations: of a tool, what a client decides about asking its user by (`readOnlyHint`); of a resource, whom it is for."""
    before, now = (side if isinstance(side, dict) else {} for side in (old, new))
    for name in {**before, **now}:
        if before.get(name, ABSENT) != now.get(name, ABSENT):
            grade: Grade = "dangerous" if kind == "tools" and name != "title" else "info"
            values = before.get(name, ABSENT), now.get(name, ABSENT)
            yield Change(grade, subject, format_pointer(("annotations", name)), f"{name} {_became(*values)}", *values)


def _output(subject: str, old: Any, new: Any) -> Iterator[Change]:
    if old is ABSENT or new is ABSENT:
        if old is not new:
            yield Change("breaking" if new is ABSENT else "minor", subject, "/outputSchema", f"outputSchema {_became(old, new)}")
        return
    yield from SchemaDrift(subject, old, new, "out").changes(("outputSchema",))


def _arguments(subject: str, old: Items, new: Items) -> Iterator[Change]:
    for name in {**old, **new}:
        where = format_pointer(("arguments", name))
        before, now = old.get(name), new.get(name)
        if now is None:
            yield Change("breaking", subject, where, "argument removed", before)
        elif before is None:
            required = now.get("required") is True
            yield Change("breaking" if required else "minor", subject, where, "required argument added" if required else "optional argument added", new=now)
        else:
            if before.get("description") != now.get("description"):
                yield Change("dangerous", subject, f"{where}/description", "description changed", before.get("description", ABSENT), now.get("description", ABSENT))
            if bool(before.get("required")) != bool(now.get("required")):
                yield Change("breaking" if now.get("required") else "minor", subject, f"{where}/required", "became required" if now.get("required") else "no longer required")
            if before.get("title") != now.get("title"):
                yield Change("info", subject, f"{where}/title", "title changed", before.get("title", ABSENT), now.get("title", ABSENT))


def _abilities(subject: str, old: Any, new: Any, path: tuple[str, ...]) -> Iterator[Change]:
    before, now = (side if isinstance(side, dict) else {} for side in (old, new))
    for name in {**before, **now}:
        where = (*path, name)
        if name not in now:
            yield Change("breaking", subject, format_pointer(where), "capability removed", before[name])
        elif name not in before:
            yield Change("minor", subject, format_pointer(where), "capability added", new=now[name])
        elif isinstance(before[name], dict) and isinstance(now[name], dict):
            yield from _abilities(subject, before[name], now[name], where)
        elif before[name] != now[name]:
            yield Change("breaking" if before[name] is True else "minor", subject, format_pointer(where), "capability changed", before[name], now[name])


def _versions(subject: str, old: Any, new: Any) -> Iterator[Change]:
    before, now = (side if isinstance(side, list) else [] for side in (old, new))
    for version in before:
        if version not in now:
            yield Change("breaking", subject, "/supportedVersions", "revision no longer supported", version)
    for version in now:
        if version not in before:
            yield Change("minor", subject, "/supportedVersions", "revision added", new=version)


def _by_name(arguments: Any) -> Items:
    return {str(one.get("name")): one for one in arguments if isinstance(one, dict)} if isinstance(arguments, list) else {}
