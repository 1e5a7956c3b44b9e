"""A web site of one page on a free loopback port, and a real browser to open it: Debian's Chromium, headless.

    async with open_pages(html) as pages, open_browser(pages.at("localhost"), ...) :
        report = await pages.report()

The page POSTs its report to its own site when it is done. The browser and all its processes end with the block.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import trio
from programs import PATIENCE

Json = dict[str, Any]
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--disable-extensions", "--disable-component-update", "--disable-breakpad", "--no-proxy-server", "--mute-audio")  # fmt: skip
"""Without a sandbox, for it may have to run as root; it opens no page but ours."""


class Pages:
    """Serves `files` by their names, and keeps what is POSTed."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._report: Json | None = None
        self._told = trio.Event()
        self.port = 0

    def at(self, host: str, page: str, **settings: Any) -> str:
        """The address of a page as it is under one of our names; its settings go into the fragment."""
        return f"http://{host}:{self.port}/{page}#{quote(json.dumps(settings))}"

    async def report(self) -> Json:
        with trio.fail_after(2 * PATIENCE):
            await self._told.wait()
        assert self._report is not None
        return self._report

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                head, body = await _request(stream)
                method, path, _ = head.split(" ", 2)
                if method == "POST":
                    self._report = json.loads(body)
                    self._told.set()
                content = b"" if method == "POST" else self._files.get(path.lstrip("/"))
                status = "404 Not Found" if content is None else "200 OK"
                kind = "text/javascript" if path.endswith("js") else "text/html; charset=utf-8"
                fields = f"content-type: {kind}\r\ncontent-length: {len(content or b'')}\r\nconnection: close"
                await stream.send_all(f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + (content or b""))


async def _request(stream: trio.SocketStream) -> tuple[str, bytes]:
    """A request's head as text, and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(fields.get("content-length", 0)):
        body += await _more(stream)
    return head.decode(), body


async def _more(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    if not data:
        raise trio.BrokenResourceError
    return data


@asynccontextmanager
async def open_pages(files: dict[str, bytes]) -> AsyncIterator[Pages]:
    pages = Pages(files)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, pages.serve, 0, host="127.0.0.1"))
        pages.port = listener.socket.getsockname()[1]
        yield pages
        nursery.cancel_scope.cancel(reason="the pages are closed")


@asynccontextmanager
async def open_browser(url: str, *options: str) -> AsyncIterator[None]:
    """Chromium with that page open, and a profile of its own. `example.org` and its hosts are at loopback."""
    program = shutil.which("chromium")
    assert program is not None, "there is no `chromium`; on Debian: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command: Sequence[str] = (program, *QUIET, f"--user-data-dir={profile}", "--host-resolver-rules=MAP *.example.org 127.0.0.1", *options, url)
        browser = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                   env={**os.environ, "HOME": profile}, start_new_session=True)  # fmt: skip
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await browser.wait()
