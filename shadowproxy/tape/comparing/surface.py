"""The surface of a server, as a tape shows it: what it lists of tools, prompts, resources and templates, and what it says of itself. Pure code.

In: frames, in order. Out: a `Listing` whenever one is complete, pages put together. A listing that its client did not read to the end is none.
Holds what is under way: bounded requests and pages.
"""
from __future__ import annotations

from typing import Any, Final, TypeAlias

import attrs

from shadowproxy.tape.frame import Frame

Items: TypeAlias = dict[str, dict[str, Any]]
"""By name (tools, prompts), URI (resources), URI template; in the order of the list."""
#: Of a list method: the member of its result, and the member that names an item.
LISTS: Final = {
    "tools/list": ("tools", "name"), "prompts/list": ("prompts", "name"), "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}  # fmt: skip
GREETINGS: Final = ("initialize", "server/discover")
_OF_ITSELF: Final = ("protocolVersion", "supportedVersions", "capabilities", "instructions")
MOST: Final = 1000


@attrs.frozen
class Listing:
    """All of one kind that the server had at frame `n`. `kind` is the member of the result, or "server" for what it says of itself."""

    kind: str
    items: Items
    n: int
    session: str | None


class SurfaceReader:
    """`latest` has the last complete listing of each kind."""

    def __init__(self) -> None:
        self.latest: dict[str, Listing] = {}
        self._asked: dict[tuple[str, int], tuple[str, str | None]] = {}
        self._pages: dict[tuple[str, str | None, str, str], Items] = {}  # by the cursor that asks for the rest

    def take(self, frame: Frame) -> Listing | None:
        """A listing, if this frame completes one."""
        if frame.kind == "request" and frame.dir == "c2s" and (frame.method in LISTS or frame.method in GREETINGS):
            params = _object(_object(frame.value()).get("params"))
            cursor = params.get("cursor")
            _bound(self._asked)[frame.leg, frame.n] = frame.method or "", cursor if isinstance(cursor, str) else None
        elif frame.kind == "response" and frame.dir == "s2c" and (asked := self._asked.pop((frame.leg, frame.re or 0), None)) is not None:
            result = _object(_object(frame.value()).get("result"))
            listing = _greeting(frame, result) if asked[0] in GREETINGS else self._page(frame, *asked, result)
            if listing is not None:
                self.latest[listing.kind] = listing
            return listing
        return None

    def _page(self, frame: Frame, method: str, cursor: str | None, result: dict[str, Any]) -> Listing | None:
        kind, name = LISTS[method]
        found = result.get(kind)
        if not isinstance(found, list):
            return None
        items = {} if cursor is None else self._pages.pop((frame.leg, frame.session, kind, cursor), None)
        if items is None:
            return None  # its first pages are not on the tape
        items.update((str(item[name]), item) for item in found if isinstance(item, dict) and name in item)
        if isinstance(more := result.get("nextCursor"), str):
            _bound(self._pages)[frame.leg, frame.session, kind, more] = items
            return None
        return Listing(kind, items, frame.n, frame.session)


def _greeting(frame: Frame, result: dict[str, Any]) -> Listing | None:
    if not result:
        return None
    meta = _object(result.get("_meta"))
    info = _object(result.get("serverInfo") or meta.get("io.modelcontextprotocol/serverInfo"))
    said: dict[str, Any] = {name: result[name] for name in _OF_ITSELF if name in result}
    return Listing("server", {str(info.get("name", "")): {**info, **said}}, frame.n, frame.session)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _bound(table: dict[Any, Any]) -> dict[Any, Any]:
    """Room for one more."""
    if len(table) >= MOST:
        del table[next(iter(table))]
    return table
