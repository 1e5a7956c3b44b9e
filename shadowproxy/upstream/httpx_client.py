"""httpx as the HTTP upstream's client: for HTTP/2, and for outbound proxies.

In: the same calls that our own client takes. Out: the same answers. One `httpx.AsyncClient` for all leases, with no pool limit of its own under
ours (its queue is not safe under cancellation), no redirects, no cookies kept, no timeouts but for connecting: deadlines are the caller's.
`open_httpx` owns one nursery, in which responses that were let go midway are closed, because httpx can only do that asynchronously.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import httpx
import trio

from shadowproxy.config import Config
from shadowproxy.errors import MessageTooLarge, UpstreamBroken, UpstreamUnreachable
from shadowproxy.exchange import Headers
from shadowproxy.upstream.fields import Fields

CLOSING = 2.0
"""Seconds for closing a response that was let go."""


@asynccontextmanager
async def open_httpx(config: Config, proxy: str | None) -> AsyncIterator[Callable[[], HttpxClient]]:
    """A maker of clients, each for one lease; all share their connections until the block ends."""
    timeout = httpx.Timeout(None, connect=config.timeouts.connect)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    prior = config.upstream.http2 and (config.upstream.url or "").startswith("http:")  # without TLS there is no agreeing on it
    shared = httpx.AsyncClient(http1=not prior, http2=config.upstream.http2, proxy=proxy, trust_env=False, timeout=timeout, limits=limits, follow_redirects=False)
    async with shared, trio.open_nursery() as closing:
        yield partial(HttpxClient, shared, config.upstream.url or "", config.limits.message, closing)


class HttpxClient:
    """One lease: a request at a time."""

    def __init__(self, shared: httpx.AsyncClient, url: str, limit: int, closing: trio.Nursery) -> None:
        parts = urlsplit(url)
        self._shared, self._origin, self._limit, self._closing = shared, f"{parts.scheme}://{parts.netloc}", limit, closing
        self._response: httpx.Response | None = None
        self._parts: AsyncIterator[bytes] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._broken = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.known: dict[bytes, bytes] = {}
        self.complete = True
        self.streaming = False

    def usable(self) -> bool:
        return self.complete and not self._broken and not self._chunks

    def abort(self) -> None:
        self._broken = True
        response, self._response = self._response, None
        if response is not None:
            self._closing.start_soon(_close, response, self._parts)

    async def send(self, fields: Fields, method: bytes, headers: Headers, session: bytes | None, body: bytes | None) -> None:
        self.complete = self.streaming = False
        self._chunks, self._size = [], 0
        crossing = [*fields.crossing(headers, session), (b"accept-encoding", b"identity")]
        request = httpx.Request(method.decode(), self._origin + fields.target, headers=crossing, content=body)
        try:
            response = self._response = await self._shared.send(request, stream=True)
        except httpx.ConnectError as error:
            raise UpstreamUnreachable(f"no connection to {self._origin}: {str(error) or error.__cause__}; is the server up, and is the address right?") from None
        except httpx.ConnectTimeout:
            raise UpstreamUnreachable(f"no connection to {self._origin} in time (timeouts.connect); is it up?") from None
        except httpx.HTTPError as error:
            raise UpstreamBroken(f"the upstream did not answer properly: {error!r}") from None
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.known = dict(self.headers)
        self._parts = response.aiter_raw()

    async def pull(self) -> None:
        assert self._parts is not None
        assert self._response is not None
        try:
            data = await anext(self._parts, None)
        except httpx.HTTPError as error:
            raise UpstreamBroken(f"the upstream closed the connection before its answer was complete: {error!r}") from None
        if data is None:
            response, self._response = self._response, None
            self.complete = True
            await response.aclose()
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._limit and not self.streaming:
            raise MessageTooLarge(f"the upstream's answer is larger than {self._limit} bytes (limits.message)", status=502)

    @property
    def waiting(self) -> bool:
        return bool(self._chunks)

    def take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks, self._size = [], 0
        return data

    async def body(self) -> bytes:
        while not self.complete:
            await self.pull()
        return self.take()


async def _close(response: httpx.Response, parts: AsyncIterator[bytes] | None) -> None:
    with trio.move_on_after(CLOSING):  # noqa: ASYNC912 - httpx waits if it has to
        close = getattr(parts, "aclose", None)
        try:
            if close is not None:
                await close()
            await response.aclose()
        except (httpx.HTTPError, RuntimeError):
            pass  # it was let go because it was broken
