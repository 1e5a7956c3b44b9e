"""The surface: listings put together from their pages, of what a tape shows."""
from __future__ import annotations

from typing import Any

from tapes import request, response

from shadowproxy.tape.comparing.surface import MOST, Listing, SurfaceReader
from shadowproxy.tape.frame import Frame


def listed(*frames: Frame) -> tuple[list[Listing], SurfaceReader]:
    reader = SurfaceReader()
    return [listing for frame in frames if (listing := reader.take(frame)) is not None], reader


def page(n: int, tools: list[Any], cursor: str | None = None, more: str | None = None, **rest: Any) -> list[Frame]:
    result = {"tools": tools, **({} if more is None else {"nextCursor": more})}
    return [request(n, "tools/list", {} if cursor is None else {"cursor": cursor}, **rest), response(n + 1, re=n, result=result, **rest)]


A, B, C = ({"name": name} for name in "abc")


def test_a_listing_is_complete_with_its_last_page() -> None:
    found, reader = listed(*page(1, [A], more="x"), *page(3, [B], "x", "y"), *page(5, [C], "y", session=None))
    assert [(listing.kind, list(listing.items), listing.n) for listing in found] == [("tools", ["a", "b", "c"], 6)]
    assert reader.latest["tools"] is found[0]


def test_pages_of_different_sessions_are_not_mixed() -> None:
    found, _ = listed(*page(1, [A], more="x", session="s1"), *page(3, [B], more="x", session="s2"), *page(5, [C], "x", session="s1"))
    assert [(listing.session, list(listing.items)) for listing in found] == [("s1", ["a", "c"])]


def test_what_is_not_read_to_its_end_is_no_listing() -> None:
    assert listed(*page(1, [A], more="x"))[0] == []
    assert listed(*page(1, [A], "never seen"))[0] == []


def test_every_kind() -> None:
    frames = [request(1, "prompts/list"), response(2, re=1, result={"prompts": [A]}), request(3, "resources/list"), response(4, re=3, result={"resources": [{"uri": "u:1"}]}),
              request(5, "resources/templates/list"), response(6, re=5, result={"resourceTemplates": [{"uriTemplate": "u:{x}"}]})]  # fmt: skip
    assert [(listing.kind, list(listing.items)) for listing in listed(*frames)[0]] == [("prompts", ["a"]), ("resources", ["u:1"]), ("resourceTemplates", ["u:{x}"])]


def test_what_the_server_says_of_itself() -> None:
    hello = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "s", "version": "1"}, "capabilities": {"tools": {}}, "instructions": "be nice"}
    discovered = {"supportedVersions": ["2026-07-28"], "capabilities": {}, "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "2"}}}
    found, _ = listed(request(1, "initialize"), response(2, re=1, result=hello), request(3, "server/discover"), response(4, re=3, result=discovered))
    assert [listing.items["s"]["version"] for listing in found] == ["1", "2"]
    assert found[0].items["s"]["instructions"] == "be nice"


def test_nonsense_is_no_listing() -> None:
    assert listed(request(1, "tools/list"), response(2, re=1, result={"tools": "none"}))[0] == []
    assert listed(request(1, "tools/list"), response(2, re=1, error={"code": 1}))[0] == []
    assert listed(request(1, "initialize"), response(2, re=1, error={"code": 1}))[0] == []
    assert list(listed(request(1, "tools/list"), response(2, re=1, result={"tools": [7, {"x": 1}, A]}))[0][0].items) == ["a"]
    assert listed(response(2, re=1, result={"tools": [A]}))[0] == []


def test_what_is_under_way_is_bounded() -> None:
    reader = SurfaceReader()
    for n in range(1, MOST + 2):
        reader.take(request(n, "tools/list"))
    assert reader.take(response(5000, re=1, result={"tools": [A]})) is None
    assert reader.take(response(5001, re=2, result={"tools": [A]})) is not None
