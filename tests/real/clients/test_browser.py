"""A page in Chromium, served from another origin, talks to the proxy with `fetch` and `EventSource`: both eras, both HTTP engines, HTTP/2."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from real.clients.pages import open_browser, open_pages
from real.clients.stage import HERE, Engine, every_engine, open_stage

from shadowproxy.config import Tls

PAGE = {"page.html": (HERE / "players" / "page.html").read_bytes()}
OUTSIDE = "app.example.org"
PACED = {"text": "paced 3 steps", "progress": [1, 2, 3]}
#: A page at a loopback name may come of itself; one from outside when its origin is allowed.
hosts = pytest.mark.parametrize("host", ["localhost", OUTSIDE])


async def visit(engine: Engine, tour: str, host: str = "localhost", *, allowed: bool = True, children: int = 1, tls: Tls | None = None) -> Any:
    """One tour of the page, on a site of that name, at a proxy that allows its origin; the page's report."""
    async with open_pages(PAGE) as pages:
        origins = (f"http://{host}:{pages.port}",) if allowed and host == OUTSIDE else ()
        async with open_stage(engine, allowed_origins=origins, tls=tls) as stage:
            async with open_browser(pages.at(host, "page.html", url=stage.url, tour=tour), "--ignore-certificate-errors"):
                report = await pages.report()
            await stage.check_empty(children=children)
    return report


@every_engine
@hosts
async def test_modern(engine: Engine, host: str) -> None:
    report = await visit(engine, "modern", host)
    assert report == {"echo": "grüß Gott", "pace": PACED, "cancelled": "AbortError", "left": "page was cancelled"}


@every_engine
@hosts
async def test_legacy(engine: Engine, host: str) -> None:
    report = await visit(engine, "legacy", host, children=0)
    assert {"echo", "pace", "greet"} <= set(report.pop("tools", ())), report
    assert report == {
        "hello": {"server": "host", "told": 202}, "pace": PACED, "greet": "Hello, Ada!", "left": "page was cancelled",
        "heard": "notifications/tools/list_changed", "ended": 200, "after": True, "gone": 404,
    }  # fmt: skip


@every_engine
@hosts
async def test_event_source(engine: Engine, host: str) -> None:
    report = await visit(engine, "eventSource", host, children=0)
    assert report == {"version": "2024-11-05", "said": ["hello", "counted to 2"], "heard": ["notifications/progress"] * 2}


@every_engine
async def test_a_page_that_was_not_invited(engine: Engine) -> None:
    """Neither learns anything nor gets anything done, be its request one that browsers send without asking first."""
    report = await visit(engine, "refused", OUTSIDE, allowed=False, children=0)
    assert report == {"posted": "TypeError", "plain": "opaque", "streamed": "the stream could not be opened"}


async def test_http2(tmp_path: Path) -> None:
    """More streams at once than a browser opens connections for: only HTTP/2 carries them all."""
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = Tls(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    report = await visit("native", "crowd", tls=tls)
    assert report == {"echo": "through the crowd", "ended": ["AbortError"], "left": "crowd 0 was cancelled"}
