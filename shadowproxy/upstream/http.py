"""The HTTP upstream: exchanges -> Streamable HTTP requests on leased connections -> replies.

In: exchanges of either era, from an HTTP downstream (whose fields cross as they came) or from stdio (whose fields are made here).
Out: a message when the answer is JSON, `EventReplies` when it is a stream. Owns no task: a lease belongs to its exchange, a standing GET
likewise. `close` drops the idle connections. Redirects are refused: following one could carry a credential to another origin.

Ids cross as they came, because on HTTP the connection is the correlation; only an id that the same legacy session has in flight already
gets a substitute, since servers keep their waiting requests by (session, id) and would give one client the other's answer.
"""
from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio

from shadowproxy.config import Config
from shadowproxy.connection import Connection
from shadowproxy.errors import ProxyError, SessionUnknown, UpstreamAnswered, UpstreamBroken, UpstreamRedirects, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Headers, Replies, Reply, Session
from shadowproxy.service import Starting
from shadowproxy.upstream import own_client
from shadowproxy.upstream.batches import messages_of
from shadowproxy.upstream.connect import UNIX
from shadowproxy.upstream.conversation import Conversation
from shadowproxy.upstream.events import EventReplies, StandingReplies
from shadowproxy.upstream.fields import Fields
from shadowproxy.upstream.http1 import FRESH, Client, HttpClient
from shadowproxy.upstream.pool import Pool
from shadowproxy.upstream.slot import Slot
from shadowproxy.upstream.sse2024 import Link2024, begin
from shadowproxy.upstream.substitutes import Substitutes
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, key_of, text_of

_PERHAPS_2024 = (400, 404, 405)
Connect = Callable[[], Awaitable[Connection]]
REFUSAL = 64 * 1024
"""Bytes of a refusal's body that are passed on."""
POOL = 1000
"""Connections at most, unless `upstream.pool` says otherwise: as many as exchanges, so that a stream that waits for the client's answer
can never keep that answer from a connection."""


def _same(message: Message) -> Message:
    return message


class HttpUpstream:
    """`connect` opens one connection to `config.upstream.url`; or `client` makes clients that need none (httpx)."""

    def __init__(self, config: Config, connect: Connect, client: Callable[[], Client] | None = None) -> None:
        upstream = config.upstream
        self._fields = Fields(*_origin_and_target(config), upstream.headers, upstream.authorization == "passthrough")
        self._config, self._connect, self._client, self.url = config, connect, client, upstream.url
        size = upstream.pool or POOL
        self.pool: Pool[Client] = Pool(self._open, size, config.timeouts.queue, f"connections to {self.url}")
        # Answers to a server's requests must get through when every other connection waits for just them.
        self._side: Pool[Client] = Pool(self._open, size, config.timeouts.queue, f"connections to {self.url}")
        self._substitutes = Substitutes()
        self._doubled = self._substitutes.of
        self.tools = own_client.Tools()
        self.unsent = own_client.Unsent()
        self._running = Starting()
        self._links: trio.Nursery | None = None  # of servers that speak 2024-11-05 only
        self._only_2024 = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the standing streams of 2024-11-05, and the pools no larger than their use, until cancelled; then drop the idle connections."""
        try:
            async with trio.open_nursery() as self._links:
                for pool in (self.pool, self._side):
                    self._links.start_soon(pool.trim, FRESH)
                self._running.started()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.pool.close()
            self._side.close()

    def statistics(self) -> dict[str, int]:
        return {"pool_leased": self.pool.leased + self._side.leased, "pool_idle": self.pool.idle + self._side.idle, "pool_waiting": self.pool.waiting}

    async def _open(self) -> Client:
        if self._client is not None:
            return self._client()
        connection: Connection | None = None
        with trio.move_on_after(self._config.timeouts.connect):
            connection = await self._connect()
        if connection is None:
            raise UpstreamUnreachable(f"no connection to {self.url} within {self._config.timeouts.connect:g} s (timeouts.connect); is it up?")
        return HttpClient(connection, self._config.limits.message)

    # ------------------------------------------------ the seam
    def call(self, exchange: Exchange) -> Coroutine[Any, Any, Reply]:
        """The hot path goes straight to `post`."""
        headers, session = exchange.headers, exchange.session
        if headers is not None and (session is None or (type(session.upstream) is set and exchange.request.method != "initialize")):
            return self.post(exchange, headers)
        return self._call_by_session(exchange)

    async def _call_by_session(self, exchange: Exchange) -> Reply:
        session = exchange.session
        if session is None:
            return await self._call(exchange)
        if (conversation := _conversation(exchange)) is not None:
            return await conversation.call(exchange)
        if exchange.request.method != "initialize":
            return await self._call(exchange)
        if not self._only_2024:
            try:
                return await self._call(exchange)
            except UpstreamAnswered as error:
                if error.http_status not in _PERHAPS_2024:
                    raise
                refused: UpstreamAnswered | None = error
        else:
            refused = None
        conversation = await self._begin_2024(session, exchange, refused)
        return await conversation.call(exchange)

    async def _call(self, exchange: Exchange) -> Reply:
        if exchange.headers is None:
            return await own_client.call(self, exchange)
        return await self.post(exchange, exchange.headers)

    async def _begin_2024(self, session: Session, exchange: Exchange, refused: UpstreamAnswered | None) -> Conversation:
        """A server that refuses the POST of `initialize` may be of 2024-11-05: a GET tells (2025-03-26, basic/transports.mdx, "Backwards
        Compatibility"). Raises what it `refused` with, if it is not."""
        with trio.move_on_after(self._config.timeouts.connect):
            await self._running.wait()
        if self._links is None:
            raise UpstreamUnreachable("what looks after the connections to the upstream is not running (HttpUpstream.run)")
        link = Link2024(self._config, self._open, self._side, exchange.headers or ())
        try:
            await begin(link, self._links, self._config.timeouts.connect)
        except ProxyError as error:
            raise refused or error from None
        self._only_2024 = True
        conversation = session.upstream = Conversation(link, self._config.limits)
        if session.id is None:
            session.id = secrets.token_hex(16).encode()  # this session is ours: the upstream's is its stream
        link.on_death = session.end
        session.on_leave(conversation.close)
        return conversation

    async def post(self, exchange: Exchange, headers: Headers, sending: Callable[[], None] | None = None) -> Reply:
        """Send the request with these fields; the lease is the exchange's. `sending` is called when it has its connection."""
        id = self._wire_id(exchange)
        request = exchange.request
        body = request.encode() if id is exchange.id else request.encode_as(id)
        client = await self.pool.acquire()
        exchange.on_leave(self.pool.give_back, client)
        if sending is not None:
            sending()
        await client.send(self._fields, b"POST", headers, _upstream_id(exchange), body)
        kind = client.known.get(b"content-type", b"").lower()
        if len(client.headers) > 2 or b"content-length" not in client.known:  # else there is nothing but these two
            exchange.reply_headers = self._fields.back(client.headers)
        if request.method == "initialize":
            self._began(exchange, client)
        if client.status == 200 and kind.startswith(b"text/event-stream"):
            restore = partial(_restore, exchange.id, id) if request.method != "initialize" else partial(_greeted, exchange, id)
            replies = EventReplies(client, self._config.limits.message, restore, exchange)
            if (reply := replies.whole()) is None:
                return replies
            exchange.as_event = True
            return reply
        if kind.startswith(b"application/json") and not 300 <= client.status < 400:
            while not client.complete:
                await client.pull()
            return self._json(exchange, client, id)
        raise await self._refusal(exchange, client)

    async def notify(self, exchange: Exchange) -> None:
        if (conversation := _conversation(exchange)) is not None:
            return await conversation.notify(exchange)
        if exchange.headers is None and self.unsent.holds(exchange):
            return
        headers = exchange.headers if exchange.headers is not None else own_client.fields(exchange)
        body = self._substitutes.crossing(exchange).encode()
        client = await self._side.acquire()
        exchange.on_leave(self._side.give_back, client)
        await client.send(self._fields, b"POST", headers, _upstream_id(exchange), body)
        if client.status >= 300:
            raise await self._refusal(exchange, client)
        client.streaming = True  # whatever it says is read and dropped
        while not client.complete:
            await client.pull()
            client.take()
        client.take()

    async def listen(self, exchange: Exchange) -> Replies:
        if (conversation := _conversation(exchange)) is not None:
            return conversation.listen(exchange)
        if exchange.headers is None:
            return await own_client.follow(self, exchange)
        return await self.get(exchange, exchange.headers)

    async def get(self, exchange: Exchange, headers: Headers, restore: Callable[[Message], Message] = _same) -> EventReplies:
        """Open a GET stream on a connection of its own, closed with the exchange."""
        client = await self._open()
        exchange.on_leave(client.abort)
        await client.send(self._fields, b"GET", headers, _upstream_id(exchange), None)
        if client.status != 200 or not client.known.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
            raise await self._refusal(exchange, client)
        exchange.reply_headers = self._fields.back(client.headers)
        return StandingReplies(client, self._config.limits.message, restore, exchange)

    async def end(self, exchange: Exchange) -> None:
        if _conversation(exchange) is not None and exchange.session is not None:
            return exchange.session.end()
        known = exchange.session is not None and exchange.session.upstream_id is not None
        if not known and (exchange.headers is None or exchange.session is not None):
            return  # the upstream keeps no session that could be ended
        headers = exchange.headers or own_client.fields(exchange)
        client = await self._side.acquire()
        exchange.on_leave(self._side.give_back, client)
        await client.send(self._fields, b"DELETE", headers, _upstream_id(exchange), None)
        if client.status >= 300:
            raise await self._refusal(exchange, client)
        await client.body()
        exchange.status = client.status

    # ------------------------------------------------ answers
    def _began(self, exchange: Exchange, client: Client) -> None:
        """The session is the upstream's: without one there, there is none here."""
        session = exchange.session
        if session is not None:
            session.upstream_id = client.known.get(b"mcp-session-id", session.upstream_id)  # a second handshake need not name it again
            if session.upstream_id is None:
                session.id = None

    def _json(self, exchange: Exchange, client: Client, id: Raw) -> Reply:
        body = client.take()
        if client.status == 404 and _upstream_id(exchange) is not None:
            raise self._lost(exchange)
        try:
            reply = Message.decode(body)
        except BadMessage as error:
            if client.status >= 300:
                raise self._passed(exchange, client, body) from None
            return _batch(body, exchange, id, error)
        exchange.status = client.status
        if not reply.is_response:
            raise UpstreamBroken("the upstream answered a request with something that is not a response")
        return _restore(exchange.id, id, reply)

    async def _refusal(self, exchange: Exchange, client: Client) -> Exception:
        """What to raise for an answer that carries no message."""
        if 300 <= client.status < 400:
            where = client.known.get(b"location", b"somewhere").decode("latin-1")
            return UpstreamRedirects(f"{self.url} redirects (HTTP {client.status}) to {where}; redirects are not followed: use that URL if you trust it")
        if client.status < 300:
            kind = client.known.get(b"content-type", b"nothing").decode("latin-1")
            return UpstreamBroken(f"the upstream answered HTTP {client.status} with {kind} where JSON or an event stream belongs")
        client.streaming = True
        body = b""
        while len(body) < REFUSAL:
            body += client.take()
            if client.complete:
                break
            await client.pull()
        if client.status == 404 and _upstream_id(exchange) is not None:
            return self._lost(exchange)
        return self._passed(exchange, client, body + client.take())

    def _passed(self, exchange: Exchange, client: Client, body: bytes) -> UpstreamAnswered:
        return UpstreamAnswered(client.status, self._fields.passed(client.headers), body[:REFUSAL])

    def _lost(self, exchange: Exchange) -> SessionUnknown:
        """404 with a session id: the upstream has forgotten the session (2025-11-25, basic/transports.mdx), so it ends here too."""
        if exchange.session is not None:
            exchange.session.end()
        return SessionUnknown("the upstream has ended this session; initialize a new one")

    def _wire_id(self, exchange: Exchange) -> Raw:
        id = exchange.id
        assert id is not None
        session = exchange.session
        if session is None:
            return id
        flying: set[bytes] | None = session.upstream
        if flying is None:
            flying = session.upstream = set()
        key = key_of(id)
        if key in flying or (self._doubled and (session, key) in self._doubled):
            key = self._substitutes.take(exchange, key, flying)
            id = Raw(key)
        flying.add(key)
        exchange.on_leave(flying.discard, key)
        return id


def _batch(body: bytes, exchange: Exchange, id: Raw, error: BadMessage) -> Slot:
    """The messages of a JSON body that is no single one, as a stream. Raises `UpstreamBroken`."""
    try:
        messages = messages_of(body, exchange, error)
    except BadMessage as fault:
        raise UpstreamBroken(f"the upstream's answer is no JSON-RPC message: {fault}") from None
    replies = Slot(None, len(messages), 0)
    for message in messages:
        replies.put(_restore(exchange.id, id, message) if message.is_response else message, 0)
    if not messages[-1].is_response:
        raise UpstreamBroken("the upstream answered a request with a batch that has no response in it")
    return replies


def _upstream_id(exchange: Exchange) -> bytes | None:
    session: Session | None = exchange.session
    return None if session is None else session.upstream_id


def _origin_and_target(config: Config) -> tuple[str, str]:
    """The Host to ask for and the target to ask for there; a unix socket is asked for our own path."""
    if (config.upstream.url or "").startswith(UNIX):
        return "localhost", config.path
    url = urlsplit(config.upstream.url or "")
    return url.netloc, (url.path or "/") + (f"?{url.query}" if url.query else "")


def _conversation(exchange: Exchange) -> Conversation | None:
    session = exchange.session
    return session.upstream if session is not None and isinstance(session.upstream, Conversation) else None


def _restore(asked: Raw | None, sent: Raw, reply: Message) -> Message:
    """The reply under the id that the client asked with. Raises `UpstreamBroken` for an answer to something else."""
    members: dict[str, Any] = reply.members
    came = members.get("id")
    if "error" in members and (came is None or bytes(came) == b"null"):
        came = sent  # its id could not be read, but the connection says whose it is
    if came is None or (bytes(came) != bytes(sent) and _key(came) != _key(sent)):
        raise UpstreamBroken(f"the upstream answered another id ({bytes(came or b'none')[:64]!r}) than it was asked")
    members["id"] = asked
    return reply


def _greeted(exchange: Exchange, sent: Raw, hello: Message) -> Message:
    """The answer to `initialize`, which says the revision of the session."""
    session = exchange.session
    if session is not None and "result" in hello.members:
        try:
            session.version = text_of(hello.result().get("protocolVersion"))
        except BadMessage:
            pass  # the client's to judge
    return _restore(exchange.id, sent, hello)


def _key(id: Raw) -> bytes | None:
    try:
        return key_of(id)
    except BadMessage:
        return None
