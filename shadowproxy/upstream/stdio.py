"""The stdio upstream: exchanges -> children that speak JSON-RPC on their pipes.

In: exchanges of either era. Out: replies. A child serves one era for life, because servers lock on their first message:
legacy, one child per session, from a few spawned ahead; modern, one child for all, restarted with back-off when it dies, or leased one exchange
at a time (`share = false`). `run` owns the nursery that all children live in; leaving it stops them. Nobody is ever handed a dead one.
"""
from __future__ import annotations

import logging
from functools import partial

import trio

from shadowproxy.config import Config
from shadowproxy.errors import Overloaded, ProxyError, SessionMissing, SpecError, UpstreamBroken, UpstreamExited, UpstreamUnreachable
from shadowproxy.exchange import Exchange, Replies, Reply, Session
from shadowproxy.service import Starting, first_of
from shadowproxy.upstream import duties
from shadowproxy.upstream.conversation import Conversation
from shadowproxy.upstream.era_probe import is_modern
from shadowproxy.upstream.link import Link
from shadowproxy.upstream.pool import Pool
from shadowproxy.upstream.restarts import Restarts
from shadowproxy.upstream.shared import Member, SharedChild
from shadowproxy.upstream.slot import Slot
from shadowproxy.upstream.warden import Warden
from shadowproxy.upstream.warm import Warm
from shadowproxy.wire.eras import LEGACY_VERSIONS, META_VERSION
from shadowproxy.wire.jsonrpc import Message, text_of

log = logging.getLogger("shadowproxy")

POOL = 100
"""Children at most, unless `upstream.pool` says otherwise."""
REST = 60.0
"""Seconds after which a child that is leased by exchange (`share = false`), and was not needed, is let go; before twice that."""
UNSUPPORTED_VERSION = -32022


def _prefers_events(exchange: Exchange) -> bool:
    """Whether the client names event streams first among what it accepts: then it gets one, though it be of a single event."""
    if exchange.headers is None or exchange.request.method == "initialize":
        return False
    return any(name == b"accept" and value.startswith(b"text/event-stream") for name, value in exchange.headers)


def _as_stream(reply: Message) -> Slot:
    slot = Slot(None, 1, 0)
    slot.put(reply, 0)
    return slot


class StdioUpstream:
    """`config.upstream.command` behind the seam. `run` must be running before the first exchange."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._size = config.upstream.pool or POOL
        self._shared = config.upstream.share is not False
        self._warden = Warden()
        self._children: trio.Nursery | None = None
        self._running = Starting()
        self._permits = trio.Semaphore(self._size, max_value=self._size)
        self._warm = Warm(config.upstream.warm, self._spawn, lambda: self._permits.value > 0)
        self._modern: Link | None = None
        self._starting: Starting | None = None
        self._legacy_only = False
        self._shares: dict[str, SharedChild] = {}
        self._sharing = trio.Lock()
        self._rules = duties.ToolRules()
        self._pool: Pool[Link] = Pool(self._open_modern, self._size, config.timeouts.queue, "children")
        self._deaths = Restarts()
        self.restarts = self.spawned = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the children until cancelled; then stop them all."""
        try:
            with self._warden:
                async with trio.open_nursery() as self._children:
                    self._warm.nursery = self._children
                    self._warm.fill_later()
                    self._running.started()
                    task_status.started()
                    await self._pool.trim(REST)
        finally:
            self._children = self._warm.nursery = None

    def statistics(self) -> dict[str, int]:
        return {"children": self._size - self._permits.value, "children_warm": self._warm.living, "child_restarts": self.restarts + self._warm.lost,
                "children_spawned": self.spawned}  # fmt: skip

    # ------------------------------------------------ the seam
    async def call(self, exchange: Exchange) -> Reply:
        if exchange.era == "legacy":
            return await self._call_legacy(exchange)
        duties.check(exchange)
        link = await self._modern_link(exchange)
        await self._rules.check(exchange, link.ask)
        reply = await link.call(exchange)
        if isinstance(reply, Message):
            exchange.status = duties.status_of(reply)
            if exchange.status != 200:
                self._rules.heed(reply)
        return reply

    async def notify(self, exchange: Exchange) -> None:
        if exchange.era == "legacy":
            return await self._conversation(exchange).notify(exchange)
        # Modern: HTTP clients have no notifications to send, and a stdio client's cancellation has ended its exchange already.

    async def listen(self, exchange: Exchange) -> Replies:
        return self._conversation(exchange).listen(exchange)

    async def end(self, exchange: Exchange) -> None:
        self._conversation(exchange)
        if exchange.session is not None:
            exchange.session.end()

    # ------------------------------------------------ legacy: a child of one's own
    async def _call_legacy(self, exchange: Exchange) -> Reply:
        session = exchange.session
        if session is None:
            raise SessionMissing("this request needs a session: send initialize first and then its mcp-session-id with every request")
        if exchange.request.method == "initialize" and session.upstream is None:
            reply = await self._greet(exchange, session)
        else:
            if session.upstream is None:
                await self._begin(exchange, session)
            reply = await self._conversation(exchange).call(exchange)
        if isinstance(reply, Message) and _prefers_events(exchange):
            return _as_stream(reply)
        return reply

    async def _greet(self, exchange: Exchange, session: Session) -> Reply:
        """`initialize`, the first that a child is told. If it ends over that, nothing has happened yet, and another may be asked, once."""
        await self._begin(exchange, session)
        first = self._conversation(exchange)
        link = first.link
        assert isinstance(link, Link)
        if isinstance(first, Member):
            first.spared = True
        else:
            link.on_death = partial(self._warm.died_unheard, link)
        try:
            return await first.call(exchange)
        except UpstreamExited:
            if session.ended or not self._may_ask_another(link):
                raise
            session.upstream = None
        finally:
            if session.upstream is first:  # from now on they end together
                if isinstance(first, Member):
                    first.spared = False
                else:
                    link.on_death = session.end
                if link.over:
                    session.end()
        await self._begin(exchange, session, fresh=True)
        return await self._conversation(exchange).call(exchange)

    async def _begin(self, exchange: Exchange, session: Session, *, fresh: bool = False) -> None:
        if self._config.upstream.share:
            session.upstream = (await self._share_of(exchange, fresh=fresh)).join(session)
            return
        link = await self._take_child(fresh=fresh)
        if session.upstream is not None or session.ended:  # another request of the session was faster, or it is over
            return self._warm.keep(link)
        link.era = "legacy"
        conversation = session.upstream = Conversation(link, self._config.limits)
        link.on_death = session.end
        session.on_leave(conversation.close)

    async def _share_of(self, exchange: Exchange, *, fresh: bool) -> SharedChild:
        """The child of all sessions that ask for this protocol version; those that no server can know have one together, or clients could fill the
        pool with children that never end."""
        asked = text_of(exchange.request.params().get("protocolVersion", b""))
        version = asked if asked in LEGACY_VERSIONS else ""
        async with self._sharing:
            child = self._shares.get(version)
            if child is None or not child.link.alive:
                link = await self._take_child(fresh=fresh)
                link.era = "legacy"
                child = self._shares[version] = SharedChild(link, self._config.limits)
        return child

    def _conversation(self, exchange: Exchange) -> Conversation | Member:
        session = exchange.session
        if session is None or not isinstance(session.upstream, (Conversation, Member)):
            raise SessionMissing("this needs a session: send initialize first and then its mcp-session-id with every request")
        return session.upstream

    # ------------------------------------------------ children
    async def _take_child(self, *, fresh: bool = False) -> Link:
        """A living child that has not been spoken to; a `fresh` one if the limit allows."""
        link = None if fresh and self._permits.value else self._warm.take()
        if link is None:
            link = await self._spawn()
        if not self._config.stdio:
            self._warm.fill_later()
        return link

    def _may_ask_another(self, link: Link) -> bool:
        """What ended over its first question, one that may be asked anew: if it had been waiting, it may have been dead before that. One that has
        just been spawned is the server as it is, and its last words are the answer."""
        if link.waiting_since is None or not link.ending or self._children is None:
            return False
        log.info("a server process that was kept warm ended before it said anything; another is asked")
        return True

    async def _nursery(self) -> trio.Nursery:
        """Where children live; whoever comes before `run` has begun waits for that."""
        with trio.move_on_after(self._config.timeouts.queue):
            await self._running.wait()
        if self._children is None:
            raise UpstreamUnreachable("what looks after the server processes is not running (StdioUpstream.run)")
        return self._children

    async def _spawn(self) -> Link:
        """A new child, as soon as the limit allows. Raises `UpstreamUnreachable`, `Overloaded`."""
        nursery = await self._nursery()
        with trio.move_on_after(self._config.timeouts.queue) as patience:
            if not self._permits.value:
                self._pool.spare()  # its permit comes as soon as it has ended
            await self._permits.acquire()
        if patience.cancelled_caught:
            raise Overloaded(f"all {self._size} children are in use (upstream.pool); try again later")
        link = Link(self._config, self._warden)
        starting = Starting()
        nursery.start_soon(self._live, link, starting)
        try:
            await starting.wait()
        except BaseException:
            link.abort()  # nobody would ever know of it
            raise
        return link

    async def _live(self, link: Link, starting: Starting) -> None:
        """A child's whole life, permit included; it belongs to the upstream, not to the exchange that wanted it."""
        self.spawned += 1
        try:
            await link.run(task_status=starting)
        except* ProxyError as group:
            starting.fail(first_of(group))
        except* Exception:
            log.exception("looking after a server process failed in a way that is a bug of shadowproxy; that process was stopped")
            starting.fail(UpstreamBroken("looking after the server process failed; see the log of shadowproxy"))
        finally:
            self._permits.release()
            starting.fail(UpstreamBroken("shadowproxy is shutting down"))

    # ------------------------------------------------ modern: one child for all
    async def _modern_link(self, exchange: Exchange) -> Link:
        """A living child of the modern era. Raises `SpecError` if the server knows none."""
        for _ in range(2 if self._shared else 1):  # one that dies before it is asked anything is replaced once; then its last words are the answer
            if self._legacy_only:
                break
            link = await (self._the_shared_one() if self._shared else self._lease(exchange))
            if link.alive:
                return link
        if self._legacy_only:
            raise self._era_mismatch(exchange)
        return link

    async def _lease(self, exchange: Exchange) -> Link:
        link = await self._pool.acquire()
        exchange.on_leave(self._pool.give_back, link)
        return link

    async def _the_shared_one(self) -> Link:
        if self._modern is not None and self._modern.alive:
            return self._modern
        if self._starting is None:
            nursery = await self._nursery()
        if self._starting is None:
            self._starting = Starting()
            nursery.start_soon(self._start_modern, self._starting)
        await self._starting.wait()
        assert self._modern is not None
        return self._modern

    async def _start_modern(self, starting: Starting) -> None:
        try:
            await self._deaths.pause()
            link = await self._open_modern()
            link.on_death = partial(self._died, trio.current_time())
            self._modern = link
            self._rules.forget()
            starting.started()
        except ProxyError as error:
            self._deaths.died(trio.current_time())
            starting.fail(error)
        finally:
            self._starting = None
            starting.fail(UpstreamBroken("shadowproxy is shutting down"))

    def _died(self, born: float) -> None:
        self._deaths.died(born)
        self.restarts += 1

    async def _open_modern(self) -> Link:
        """A child that has said, when asked, that it knows the modern era; else the fact is noted for the proxy's life."""
        link = await self._take_child()
        try:
            return await self._discovered(link)
        except UpstreamExited:
            if not self._may_ask_another(link):
                raise
        return await self._discovered(await self._take_child(fresh=True))

    async def _discovered(self, link: Link) -> Link:
        link.era, link.on_tools_changed = "modern", self._rules.forget
        try:
            with trio.move_on_after(self._config.timeouts.request):  # a server that is installed as it starts takes its time
                self._legacy_only = not await is_modern(link)
                link.on_death = None
                if self._legacy_only:
                    link.abort()
                return link
        except BaseException:
            link.abort()
            raise
        link.abort()
        raise UpstreamBroken(f"the server process did not answer server/discover within {self._config.timeouts.request:g} s (timeouts.request)")

    def _era_mismatch(self, exchange: Exchange) -> SpecError:
        """The specification's own error for a server that does not know this revision (2026-07-28, basic/versioning.mdx)."""
        requested = text_of(exchange.request.meta().get(META_VERSION, b"")) or ""
        data = {"supported": list(LEGACY_VERSIONS), "requested": requested}
        return SpecError(400, UNSUPPORTED_VERSION, "Unsupported protocol version: the server knows the initialize handshake only", data)
