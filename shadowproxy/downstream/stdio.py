"""The stdio downstream: one client on a pair of pipes.

In: lines on standard input. Out: lines on standard output, and nothing else there. It owns a task per request (its scope kept by the request's
id), one writer, and for a legacy client one listener for what the server sends unasked. The end of input is the drain: what is under way may
finish, then the session ends upstream. A client that does not read its output is not read either.
"""
from __future__ import annotations

import logging

import trio

from shadowproxy.config import Config
from shadowproxy.downstream.answer import end_of_subscription, error_message, too_late
from shadowproxy.errors import Overloaded, ProxyError, SpecError, UpstreamAnswered
from shadowproxy.exchange import NOTHING, Exchange, Reply, Session
from shadowproxy.gateway import Gateway
from shadowproxy.outbox import Outbox
from shadowproxy.wire.eras import META_VERSION, era_of
from shadowproxy.wire.jsonrpc import BadMessage, Message, decode_batch, error_reply, is_batch, key_of, text_of
from shadowproxy.wire.lines import LineParser

log = logging.getLogger("shadowproxy")

CHUNK = 1 << 16
COURTESY = 2.0
"""Seconds for telling the upstream, at the end of input, what was said last and that the session is over; the same for what the client is to read."""
STREAM = 1.0
"""Seconds that the client's next request waits for the upstream's own stream to open: what the server says there meanwhile would be lost."""
TURN = 1.0
"""Seconds that a notification waits for the one before it to be taken, so that they arrive in order; one that hangs must not hold up the rest."""
_META_VERSION = META_VERSION.encode()
_INITIALIZED, _CANCELLED = "notifications/initialized", "notifications/cancelled"


class _Call:
    """A request under way. `begun`: it may have reached the upstream. `silent`: nothing more is said about it, because its client has
    cancelled it or was told its end already. `standing`: a subscription, which has no end of its own."""

    __slots__ = ("begun", "exchange", "key", "scope", "silent", "standing")

    def __init__(self, exchange: Exchange, key: bytes, deadline: float) -> None:
        self.exchange, self.key, self.scope = exchange, key, trio.CancelScope(deadline=deadline)
        self.begun = self.silent = self.standing = False


class _Turn:
    """The place of one notification among others: the next one waits for it."""

    __slots__ = ("begun", "over")

    def __init__(self) -> None:
        self.begun, self.over = trio.Event(), trio.Event()

    async def wait(self) -> None:
        """Until it has reached the upstream, or has had its time for that."""
        await self.begun.wait()
        with trio.move_on_after(TURN):
            await self.over.wait()


class StdioServer:
    """`run` serves one client until its input ends."""

    def __init__(self, config: Config, gateway: Gateway, stdin: trio.abc.ReceiveStream, stdout: trio.abc.SendStream) -> None:
        self._config, self._gateway, self._stdin, self._stdout = config, gateway, stdin, stdout
        self._outbox = Outbox()
        self._open: set[_Call] = set()
        self._by_id: dict[bytes, _Call] = {}  # the newest of each id
        self._session: Session | None = None
        self._listener = trio.CancelScope()
        self._telling = trio.Semaphore(config.limits.exchanges, max_value=config.limits.exchanges)
        self._turn: _Turn | None = None  # of the newest notification
        self._input = trio.CancelScope()
        self._courtesy = 0.0  # until when
        self._draining = self._unread = self._hurried = False
        self._idle = trio.Event()
        self._done = trio.Event()

    @property
    def exchanges(self) -> int:
        return len(self._open)

    def drain(self) -> None:
        """Take no further input, as if it had ended."""
        self._input.cancel(reason="drain")

    def hurry(self) -> None:
        """Take no further input, and tell what is under way that it will not be finished."""
        self._hurried = True
        self._idle.set()
        self.drain()

    async def finished(self) -> None:
        """Wait until `run` has answered all that it will."""
        await self._done.wait()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as writer:
                writer.start_soon(self._write)
                async with trio.open_nursery() as exchanges:
                    with self._input:
                        await self._read(exchanges)
                    await self._drain()
                    exchanges.cancel_scope.cancel(reason="the input has ended")
                await self._farewell()
                await self._flush()
                writer.cancel_scope.cancel(reason="everything is written")
        finally:
            if self._session is not None:
                self._session.end()
            self._done.set()

    # ------------------------------------------------ in
    async def _read(self, exchanges: trio.Nursery) -> None:
        parser = LineParser(self._config.limits.body)
        while data := await self._stdin.receive_some(CHUNK):
            for line in parser.feed(bytes(data)):
                await self._take(line, exchanges)
            while parser.heads:
                parser.heads.popleft()
                self._say(error_reply(None, -32600, f"a message is larger than {self._config.limits.body} bytes (limits.body); it was dropped"))
            await self._outbox.room()
        if line := parser.flush():
            await self._take(line, exchanges)

    async def _take(self, line: bytes, exchanges: trio.Nursery) -> None:
        try:
            messages = decode_batch(line) if is_batch(line) else [Message.decode(line)]
        except BadMessage as error:
            return self._say(error_reply(None, error.code, str(error)))
        for message in messages:
            try:
                await self._dispatch(message, exchanges)
            except BadMessage as error:
                self._say(error_reply(message.id, error.code, str(error)))

    async def _dispatch(self, message: Message, exchanges: trio.Nursery) -> None:
        if message.is_request:
            call = self._begin(self._exchange(message), key_of(message.members["id"]), exchanges)
            await trio.lowlevel.checkpoint()  # it gets as far as it can before the next line is looked at, so that the order of lines is kept
            if message.method == "initialize" and call.exchange.era == "legacy":
                await self._answered(call)
            return
        if message.method == _CANCELLED:
            return await self._cancel(message, exchanges)
        exchange = self._exchange(message)
        if message.method == _INITIALIZED:  # what follows it must not overtake it
            await self._notify(exchange)
            opened = trio.Event()
            exchanges.start_soon(self._listen, opened, name="listener")
            with trio.move_on_after(STREAM):
                await opened.wait()
        else:
            await self._tell(exchanges, exchange)

    def _begin(self, exchange: Exchange, key: bytes, exchanges: trio.Nursery) -> _Call:
        standing = exchange.request.method == "subscriptions/listen"
        call = _Call(exchange, key, float("inf") if standing else trio.current_time() + self._config.timeouts.request)
        self._open.add(call)  # now, not when its task first runs: its cancellation may be the next line
        self._by_id[key] = call
        exchanges.start_soon(self._call, call, name=f"exchange {exchange.request.method}")
        return call

    async def _answered(self, call: _Call) -> None:
        """Nothing may overtake the handshake, not even for a client that does not wait for its answer."""
        while call in self._open:
            self._idle = trio.Event()
            await self._idle.wait()

    def _exchange(self, message: Message) -> Exchange:
        params = message.params() if message.mentions(_META_VERSION) else None
        era = era_of(params, None)
        if era == "legacy" and self._session is None:
            self._session = Session(b"stdio")
        return Exchange(message, era, self._session if era == "legacy" else None, None)

    async def _tell(self, exchanges: trio.Nursery, exchange: Exchange, scope: trio.CancelScope | None = None) -> None:
        """Notify the upstream in a task of its own, after those before, and cancel `scope` afterwards; past a number of such tasks the client is
        not read."""
        await self._telling.acquire()
        before, self._turn = self._turn, _Turn()
        exchanges.start_soon(self._notify_in_turn, exchange, scope, before, self._turn, name=f"notify {exchange.request.method}")
        await trio.lowlevel.checkpoint()  # as for a request: it gets as far as it can first

    async def _cancel(self, message: Message, exchanges: trio.Nursery) -> None:
        """A modern request ends with its scope. A legacy one is the server's to cancel: its exchange ends once the server has been told,
        because nothing obliges a server to answer it, or to close the stream on which it would have."""
        try:
            key = key_of(message.params()["requestId"])
        except (BadMessage, KeyError):
            return
        call = self._by_id.get(key)
        if call is None:
            if self._session is not None:
                await self._tell(exchanges, self._exchange(message))
            return
        call.silent = True
        if call.exchange.era == "legacy" and call.begun:
            await self._tell(exchanges, self._exchange(message), call.scope)
        else:
            self._gateway.aside(call.exchange, message)
            call.scope.cancel(reason="the client cancelled the request")

    async def _notify_in_turn(self, exchange: Exchange, scope: trio.CancelScope | None, before: _Turn | None, turn: _Turn) -> None:
        try:
            if before is not None and not before.over.is_set():
                await before.wait()
            turn.begun.set()
            await self._notify(exchange)
        finally:
            turn.over.set()
            self._telling.release()
            self._idle.set()
        if scope is not None:
            scope.cancel(reason="the client cancelled the request, and the server knows")

    # ------------------------------------------------ one exchange
    async def _call(self, call: _Call) -> None:
        """The exchange boundary: any failure becomes an error reply and ends here."""
        try:
            with call.scope:
                await self._answer(call)
        finally:
            self._open.discard(call)
            if self._by_id.get(call.key) is call:
                del self._by_id[call.key]
            self._idle.set()
        if call.scope.cancelled_caught and not call.silent:
            self._fail(call, too_late(self._config.timeouts.request))

    async def _answer(self, call: _Call) -> None:
        try:
            with call.exchange:
                if not call.silent:
                    call.begun = True
                    await self._replies(call, await self._gateway.call(call.exchange))
        except ProxyError as error:
            await self._refuse(call, error)
        except BadMessage as error:
            await self._refuse(call, SpecError(400, error.code, str(error)))

    async def _replies(self, call: _Call, reply: Reply) -> None:
        if isinstance(reply, Message):
            return await self._deliver(call, reply)
        scope, timeouts = call.scope, self._config.timeouts
        if scope.deadline == float("inf"):
            self._stand(call)
        latest = trio.current_time() + timeouts.request_max
        async for item in reply:
            if isinstance(item, Message):
                await self._deliver(call, item)
            if scope.deadline != float("inf"):
                scope.deadline = min(trio.current_time() + timeouts.request, latest)

    def _stand(self, call: _Call) -> None:
        if self._draining:
            raise Overloaded("shadowproxy is shutting down; subscribe again elsewhere")
        call.standing = True

    async def _deliver(self, call: _Call, message: Message) -> None:
        if message.is_response:
            if call.silent:
                return
            exchange = call.exchange
            message.members["id"] = exchange.id  # an HTTP server may refuse with a null id: its client has the connection to go by, ours has not
            if exchange.request.method == "initialize" and self._session is not None and "result" in message.members:
                self._session.version = text_of(message.result().get("protocolVersion", b""))
        await self._outbox.put(message.line())

    async def _refuse(self, call: _Call, error: ProxyError) -> None:
        if not call.silent:
            self._gateway.aside(call.exchange, error)
            await self._outbox.put(error_message(error, call.exchange.id).line())

    async def _notify(self, exchange: Exchange) -> None:
        """Nobody waits for this: a failure is for the log."""
        try:
            with trio.fail_after(self._config.timeouts.request), exchange:
                await self._gateway.notify(exchange)
        except (ProxyError, BadMessage, trio.TooSlowError) as error:
            log.warning("a notification did not reach the upstream", extra={"method": exchange.request.method, "reason": str(error)})

    async def _listen(self, opened: trio.Event) -> None:
        """What a legacy server sends unasked, until the end; many servers offer no such stream."""
        self._listener.cancel(reason="the client has begun anew")
        with trio.CancelScope() as self._listener, Exchange(NOTHING, "legacy", self._session, None) as exchange:  # noqa: ASYNC912 - listening is waiting
            try:
                replies = await self._gateway.listen(exchange)
                opened.set()
                async for item in replies:
                    if isinstance(item, Message):
                        await self._outbox.put(item.line())
            except UpstreamAnswered as error:
                log.debug("the upstream offers no stream of its own messages", extra={"status": error.http_status})
            except ProxyError as error:
                log.warning("the stream of the upstream's own messages has ended", extra={"reason": error.message})
            finally:
                opened.set()

    # ------------------------------------------------ the end
    async def _drain(self) -> None:
        """Subscriptions end now, the rest may finish, unless nobody is there any more to read it."""
        self._draining = True
        for call in self._open:
            if call.standing and not call.silent:
                call.silent = True
                end = end_of_subscription(call.exchange)
                self._gateway.aside(call.exchange, end)
                self._say(end)
                call.scope.cancel(reason="drain")
        with trio.move_on_after(self._config.timeouts.drain):  # noqa: ASYNC912 - waits only if something is open
            while self._open and not (self._unread or self._hurried):
                self._idle = trio.Event()
                await self._idle.wait()
        for call in self._open:
            if not call.silent:
                call.silent = True
                self._fail(call, Overloaded("shadowproxy is shutting down; the request was not finished"))
        self._courtesy = trio.current_time() + COURTESY
        with trio.move_on_at(self._courtesy - COURTESY / 2):  # noqa: ASYNC912 - the same; what the client said last is to arrive
            while self._telling.value < self._config.limits.exchanges and not (self._unread or self._hurried):
                self._idle = trio.Event()
                await self._idle.wait()

    async def _farewell(self) -> None:
        if self._session is None:
            return
        with trio.move_on_at(self._courtesy), Exchange(NOTHING, "legacy", self._session, None) as exchange:  # noqa: ASYNC912 - an upstream may have nothing to wait for
            try:
                await self._gateway.end(exchange)
            except ProxyError as error:
                log.debug("the upstream did not take the end of the session", extra={"reason": error.message})

    # ------------------------------------------------ out
    def _fail(self, call: _Call, error: ProxyError) -> None:
        self._gateway.aside(call.exchange, error)
        self._say(error_message(error, call.exchange.id))

    def _say(self, message: Message) -> None:
        self._outbox.put_nowait(message.line())

    async def _write(self) -> None:
        try:
            while True:
                data = await self._outbox.take()
                await self._stdout.send_all(data)
                self._outbox.written(len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.info("the client closed our standard output")
            self._outbox.close()
            self._unread = True
            self._idle.set()
            self.drain()

    async def _flush(self) -> None:
        with trio.move_on_after(COURTESY):
            await self._outbox.flushed()
