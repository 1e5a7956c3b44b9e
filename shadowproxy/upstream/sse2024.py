"""A peer of 2024-11-05: one event stream from the server, one endpoint to POST to, both for the life of a session.

In: what the peer's outbox holds, POSTed line by line, in order. Out: the data of every `message` event to the peer.
`run` owns both directions and closes the stream; who started it ends it by `abort`. Source: 2024-11-05, basic/transports.mdx, "HTTP with SSE".
The endpoint that the server names must be of the origin that was asked: nobody is sent elsewhere.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urljoin, urlsplit

import trio

from shadowproxy.config import Config
from shadowproxy.errors import ProxyError, UpstreamBroken
from shadowproxy.exchange import Headers
from shadowproxy.service import Starting, first_of
from shadowproxy.upstream.fields import Fields
from shadowproxy.upstream.http1 import Client
from shadowproxy.upstream.peer import Peer
from shadowproxy.upstream.pool import Pool
from shadowproxy.wire.sse import Event, SseParser, TooLarge

_GET = ((b"accept", b"text/event-stream"),)
_POST = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))


class Link2024(Peer):
    """`open` opens a connection for the stream; POSTs are leased from `pool`. `headers` are the client's fields of its `initialize`."""

    def __init__(self, config: Config, open: Callable[[], Awaitable[Client]], pool: Pool[Client], headers: Headers) -> None:
        super().__init__(config)
        self.era = "legacy"
        self._open, self._pool = open, pool
        self._url = config.upstream.url or ""
        self._headers = [field for field in headers if field[0] not in (b"accept", b"content-type", b"mcp-protocol-version")]
        self._passthrough = config.upstream.authorization == "passthrough"
        self._post: Fields | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC128 - `_read` says it
        """Serve until the stream ends, or until `abort`. `started` once the server has named its endpoint; raises `ProxyError` before that only."""
        client: Client | None = None
        with self.scope:
            try:
                client = await self._open()
                await client.send(self._fields(self._url), b"GET", (*self._headers, *_GET), None, None)
                if client.status != 200 or not client.known.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
                    raise UpstreamBroken(f"{self._url} offers no event stream of 2024-11-05 (HTTP {client.status})")
                client.streaming = True
                async with trio.open_nursery() as tasks:
                    await self._read(client, tasks, task_status)
                    tasks.cancel_scope.cancel(reason="the stream has ended")
            finally:
                self.fail(UpstreamBroken("the upstream ended its event stream, and with it the session"))
                self.outbox.close()
                if client is not None:
                    client.abort()

    def _fields(self, url: str) -> Fields:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Fields(parts.netloc, target, self._config.upstream.headers, self._passthrough)

    async def _read(self, client: Client, tasks: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        parser = SseParser(self._config.limits.message)
        while True:  # noqa: ASYNC913 - each round reads, or returns
            try:
                events = parser.feed(client.take())
            except TooLarge as error:
                return self.fail(UpstreamBroken(f"{error} (limits.message)"))
            for event in events:
                if event.event == b"endpoint":
                    if self._post is not None:
                        continue  # one session has one endpoint
                    self._found(event)
                    tasks.start_soon(self._write)
                    task_status.started()
                elif event.data:
                    self.deliver(event.data)
            if client.complete:
                return
            try:
                await client.pull()
            except UpstreamBroken as error:
                return self.fail(error)

    def _found(self, event: Event) -> None:
        url = urljoin(self._url, event.data.decode("utf-8", "replace"))
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise UpstreamBroken(f"the upstream named an endpoint of another origin ({url}), which is not followed")
        self._post = self._fields(url)

    async def _write(self) -> None:
        while True:
            data = await self.outbox.take()
            for line in data.splitlines():
                try:
                    await self._send(line)
                except ProxyError as error:
                    self.fail(error)
                    return self.scope.cancel(reason="a message could not be sent")
            self.outbox.written(len(data))

    async def _send(self, line: bytes) -> None:
        """Others wait behind it, so it has a deadline whoever waits for its answer."""
        assert self._post is not None
        patience = self._config.timeouts.request
        with trio.move_on_after(patience):
            async with self._pool.lease() as client:
                await client.send(self._post, b"POST", (*self._headers, *_POST), None, line)
                await client.body()
                if client.status >= 300:
                    raise UpstreamBroken(f"the upstream refused a message with HTTP {client.status}")
                return
        raise UpstreamBroken(f"the upstream did not take a message within {patience:g} s (timeouts.request), and with it the session is over; initialize a new one")


async def begin(link: Link2024, links: trio.Nursery, seconds: float) -> None:
    """Run `link` in `links`, to which it belongs from now on, and wait until its server has named an endpoint. Raises `ProxyError` if it does not."""
    starting = Starting()
    links.start_soon(_live, link, starting)
    try:
        with trio.move_on_after(seconds):
            await starting.wait()
            return
    except BaseException:
        link.abort()  # nobody would ever know of it
        raise
    link.abort()
    raise UpstreamBroken(f"the upstream named no endpoint on its event stream within {seconds:g} s (timeouts.connect)")


async def _live(link: Link2024, starting: Starting) -> None:
    try:
        await link.run(task_status=starting)
    except* ProxyError as group:
        starting.fail(first_of(group))
    finally:
        starting.fail(UpstreamBroken("the upstream's event stream ended before it named an endpoint"))
