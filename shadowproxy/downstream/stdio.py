"""The stdio downstream: one client on a pair of pipes.

In: lines on standard input. Out: lines on standard output, and nothing else there. It owns a task per request (its scope kept by the request's
id), one writer, and for a legacy client one listener for what the server sends unasked. The end of input is the drain: what is under way may
finish, then the session ends upstream. A client that does not read its output is not read either.
"""
from __future__ import annotations

import logging

import trio

from shadowproxy.config import Config
from shadowproxy.downstream.answer import end_of_subscription, error_message
from shadowproxy.errors import Overloaded, ProxyError, SpecError, UpstreamAnswered, UpstreamTimeout
from shadowproxy.exchange import NOTHING, Exchange, Session
from shadowproxy.gateway import Gateway
from shadowproxy.outbox import Outbox
from shadowproxy.wire.eras import META_VERSION, era_of
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, decode_batch, error_reply, is_batch, key_of, text_of
from shadowproxy.wire.lines import LineParser

log = logging.getLogger("shadowproxy")

CHUNK = 1 << 16
COURTESY = 2.0
"""Seconds for telling the upstream, at the end of input, that the session is over."""
STREAM = 1.0
"""Seconds that the client's next request waits for the upstream's own stream to open: what the server says there meanwhile would be lost."""
_META_VERSION = META_VERSION.encode()
_INITIALIZED, _CANCELLED = "notifications/initialized", "notifications/cancelled"


class StdioServer:
    """`run` serves one client until its input ends."""

    def __init__(self, config: Config, gateway: Gateway, stdin: trio.abc.ReceiveStream, stdout: trio.abc.SendStream) -> None:
        self._config, self._gateway, self._stdin, self._stdout = config, gateway, stdin, stdout
        self._outbox = Outbox()
        self._open: dict[bytes, trio.CancelScope] = {}
        self._standing: dict[bytes, Exchange] = {}  # subscriptions, which have no end of their own
        self._silenced: set[bytes] = set()  # requests that their client has cancelled: nothing more is said about them
        self._session: Session | None = None
        self._listener = trio.CancelScope()
        self._input = trio.CancelScope()
        self._draining = self._unread = False
        self._idle = trio.Event()
        self._done = trio.Event()

    @property
    def exchanges(self) -> int:
        return len(self._open)

    def drain(self) -> None:
        """Take no further input, as if it had ended."""
        self._input.cancel(reason="drain")

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
            exchange = self._exchange(message)
            exchanges.start_soon(self._call, exchange, key_of(message.members["id"]), name=f"exchange {message.method}")
            return
        if message.method == _CANCELLED:
            return self._cancel(message, exchanges)
        exchange = self._exchange(message)
        if message.method == _INITIALIZED:  # what follows it must not overtake it
            await self._notify(exchange)
            opened = trio.Event()
            exchanges.start_soon(self._listen, opened, name="listener")
            with trio.move_on_after(STREAM):
                await opened.wait()
        else:
            exchanges.start_soon(self._notify, exchange, name=f"notify {message.method}")

    def _exchange(self, message: Message) -> Exchange:
        params = message.params() if message.mentions(_META_VERSION) else None
        era = era_of(params, None)
        if era == "legacy" and self._session is None:
            self._session = Session(b"stdio")
        return Exchange(message, era, self._session if era == "legacy" else None, None)

    def _cancel(self, message: Message, exchanges: trio.Nursery) -> None:
        """A modern request ends with its scope. A legacy one is the server's to cancel: its exchange ends once the server has been told,
        because nothing obliges a server to answer it, or to close the stream on which it would have."""
        try:
            key = key_of(message.params()["requestId"])
        except (BadMessage, KeyError):
            return
        scope = self._open.get(key)
        if scope is not None:
            self._silenced.add(key)
        if self._session is not None:
            exchanges.start_soon(self._pass_on_and_cancel, self._exchange(message), scope, name=f"notify {_CANCELLED}")
        elif scope is not None:
            scope.cancel(reason="the client cancelled the request")

    async def _pass_on_and_cancel(self, exchange: Exchange, scope: trio.CancelScope | None) -> None:
        await self._notify(exchange)
        if scope is not None:
            scope.cancel(reason="the client cancelled the request, and the server knows")

    # ------------------------------------------------ one exchange
    async def _call(self, exchange: Exchange, key: bytes) -> None:
        """The exchange boundary: any failure becomes an error reply and ends here."""
        timeouts = self._config.timeouts
        standing = exchange.request.method == "subscriptions/listen"
        with trio.CancelScope(deadline=float("inf") if standing else trio.current_time() + timeouts.request) as scope:
            self._open[key] = scope
            try:
                with exchange:
                    await self._answer(exchange, scope, key)
            except ProxyError as error:
                await self._refuse(exchange, error, key)
            except BadMessage as error:
                await self._refuse(exchange, SpecError(400, error.code, str(error)), key)
            finally:
                if self._open.get(key) is scope:
                    del self._open[key]
                    self._standing.pop(key, None)
                if not self._open:
                    self._idle.set()
        if scope.cancelled_caught and key not in self._silenced:
            text = f"no answer from the upstream within the request's deadline of {timeouts.request:g} s (timeouts.request, --request-timeout)"
            self._say(error_message(UpstreamTimeout(text), exchange.id))
        self._silenced.discard(key)

    async def _answer(self, exchange: Exchange, scope: trio.CancelScope, key: bytes) -> None:
        reply = await self._gateway.call(exchange)
        if isinstance(reply, Message):
            return await self._deliver(exchange, reply, key)
        if scope.deadline == float("inf"):
            self._stand(exchange, key)
        latest = trio.current_time() + self._config.timeouts.request_max
        async for item in reply:
            if isinstance(item, Message):
                await self._deliver(exchange, item, key)
            if scope.deadline != float("inf"):
                scope.deadline = min(trio.current_time() + self._config.timeouts.request, latest)

    def _stand(self, exchange: Exchange, key: bytes) -> None:
        if self._draining:
            raise Overloaded("shadowproxy is shutting down; subscribe again elsewhere")
        self._standing[key] = exchange

    async def _deliver(self, exchange: Exchange, message: Message, key: bytes) -> None:
        if message.is_response:
            if key in self._silenced:
                return
            message.members["id"] = exchange.id  # an HTTP server may refuse with a null id: its client has the connection to go by, ours has not
            if exchange.request.method == "initialize" and self._session is not None and "result" in message.members:
                self._session.version = text_of(message.result().get("protocolVersion", b""))
        await self._outbox.put(message.line())

    async def _refuse(self, exchange: Exchange, error: ProxyError, key: bytes) -> None:
        if key not in self._silenced:
            await self._outbox.put(error_message(error, exchange.id).line())

    async def _notify(self, exchange: Exchange) -> None:
        """Nobody waits for this: a failure is for the log."""
        try:
            with trio.fail_after(self._config.timeouts.request), exchange:
                await self._gateway.notify(exchange)
        except (ProxyError, BadMessage, trio.TooSlowError) as error:
            log.warning("a notification did not reach the upstream", extra={"method": exchange.request.method, "reason": str(error)})

    async def _listen(self, opened: trio.Event) -> None:
        """What a legacy server sends unasked, until the end; many servers offer no such stream."""
        with self._listener, Exchange(NOTHING, "legacy", self._session, None) as exchange:
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
        for key, exchange in self._standing.items():
            self._silenced.add(key)
            self._say(end_of_subscription(exchange))
            self._open[key].cancel(reason="drain")
        with trio.move_on_after(self._config.timeouts.drain):
            while self._open and not self._unread:
                self._idle = trio.Event()
                await self._idle.wait()
        for key in self._open.keys() - self._silenced:
            self._silenced.add(key)
            self._say(error_message(Overloaded("shadowproxy is shutting down; the request was not finished"), Raw(key)))

    async def _farewell(self) -> None:
        if self._session is None:
            return
        with trio.move_on_after(COURTESY), Exchange(NOTHING, "legacy", self._session, None) as exchange:
            try:
                await self._gateway.end(exchange)
            except ProxyError as error:
                log.debug("the upstream did not take the end of the session", extra={"reason": error.message})

    # ------------------------------------------------ out
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
