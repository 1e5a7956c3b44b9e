"""A peer: correlation for one JSON-RPC server that many exchanges share.

In: exchanges, each under a wire id of its own. Out: their replies, each in its exchange's slot; what nobody asked for goes to `unasked`.
How the lines travel is a subclass's affair (`link.py`: a child's pipes; `sse2024.py`: the two endpoints of 2024-11-05): it owns the tasks, writes what
`outbox` gives, calls `deliver` with every line, and `fail` at the end. Nothing here waits for a consumer.
Ids and progress tokens are the peer's on the wire and the client's everywhere else.
"""
from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

import trio

from shadowproxy.config import Config
from shadowproxy.errors import MessageTooLarge, ProxyError, RequestCancelled, UpstreamExited
from shadowproxy.exchange import Era, Exchange, Reply, Session
from shadowproxy.outbox import Outbox
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.eras import META_LOG_LEVEL, META_SUBSCRIPTION
from shadowproxy.wire.jsonrpc import INVALID_REQUEST, BadMessage, Message, Raw, as_line, encode, error_reply, key_of, text_of

log = logging.getLogger("shadowproxy")

#: While less than this is queued, a line is added without a further look.
CHUNK = 1 << 18
CANCELLED: Final = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"%b"}}\n'
_PROGRESS, _LOG, _CANCEL = "notifications/progress", "notifications/message", "notifications/cancelled"
_LISTEN: Final = "subscriptions/listen"
_TOKEN: Final = b"progressToken"
_BODY: Final = re.compile(rb'"(?:result|error|params)"')


class Peer:
    """One server and who waits for it. `era` is fixed by the first message for its whole life."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.era: Era | None = None
        self.outbox = Outbox()
        self.waiting: dict[bytes, Slot] = {}
        self.unasked: Callable[[Message, int], None] = self._drop
        self.on_death: Callable[[], None] | None = None
        self.dropped = 0  # messages that belonged to nobody
        self.scope = trio.CancelScope()
        self._next = 0
        self._failure: ProxyError | None = None

    @property
    def alive(self) -> bool:
        return self._failure is None and not self.scope.cancel_called

    def usable(self) -> bool:
        """For the pool: alive, and nobody left waiting on it."""
        return self.alive and not self.waiting

    def abort(self) -> None:
        """End it, politely. Synchronous; whoever runs it does the rest."""
        self.fail(UpstreamExited("the server was let go by shadowproxy"))
        self.scope.cancel(reason="the server is no longer needed")

    def fail(self, error: ProxyError) -> None:
        """Tell everybody who waits, once. The first reason is the true one."""
        if self._failure is None:
            self._failure = error
            if self.on_death is not None:
                self.on_death()  # before anybody who waits can ask for another
            waiting, self.waiting = self.waiting, {}
            for slot in waiting.values():
                slot.fail(error)

    # ------------------------------------------------ the exchanges' side
    async def call(self, exchange: Exchange) -> Reply:
        """Send the request under a wire id; give its response, or the slot when more than that comes. Leaving the exchange cancels it there."""
        slot, line = self._register(exchange)
        await self._put(line)
        first = await slot.__anext__()
        if slot.last:
            return first
        slot.push_back(first)
        return slot

    def _register(self, exchange: Exchange) -> tuple[Slot, bytes]:
        if self._failure is not None:
            raise self._failure
        self._next += 1
        key = b"%d" % self._next
        limits = self._config.limits
        slot = Slot(exchange.id, limits.events, limits.buffer, exchange.session)
        line = self._line(exchange.request, key, slot)  # one that cannot be sent was never begun
        self.waiting[key] = slot
        exchange.on_leave(self._leave, key, exchange.request.method)
        return slot, line

    def _line(self, request: Message, key: bytes, slot: Slot) -> bytes:
        """The request as it goes over the pipe. The client's own message stays as it is: the tape has it."""
        wire = Raw(key)
        slot.listens = request.method == _LISTEN
        slot.wants_log = self.era == "modern" and META_LOG_LEVEL in request.meta()
        if request.mentions(_TOKEN) and (token := request.meta().get("progressToken")) is not None:
            slot.token = token
            params = {**request.params(), "_meta": {**request.meta(), "progressToken": wire}}
            return as_line(encode({**request.members, "id": wire, "params": params}))
        return as_line(request.encode_as(wire))

    def _leave(self, key: bytes, method: str | None) -> None:
        """The exchange is over; if its answer is not here, the child may stop working on it (`initialize` must not be cancelled)."""
        if self.waiting.pop(key, None) is not None and self._failure is None and method != "initialize":
            self.outbox.put_nowait(CANCELLED % (key, b"the client no longer waits for it"))

    async def send(self, message: Message) -> None:
        """A message that expects nothing back."""
        if self._failure is not None:
            raise self._failure
        await self._put(message.line())

    async def _put(self, line: bytes) -> None:
        if self.outbox.size < CHUNK:
            self.outbox.put_nowait(line)
        else:
            await self.outbox.put(line)
        if self._failure is not None:
            raise self._failure

    def cancel_by_client(self, message: Message, session: Session | None) -> Message | None:
        """A legacy client's `notifications/cancelled`, as it goes over the pipe; its exchange ends here. None: its session has no such request open."""
        params = message.params()
        try:
            wanted = key_of(params.get("requestId", Raw(b"null")))
        except BadMessage:
            return None
        for key, slot in self.waiting.items():
            if slot.session is session and slot.id is not None and key_of(slot.id) == wanted:
                del self.waiting[key]
                slot.fail(RequestCancelled("cancelled, as the client asked with notifications/cancelled"))
                return Message({**message.members, "params": {**params, "requestId": Raw(key)}}, message.method)
        return None

    async def ask(self, request: Message) -> Message:
        """A request of the proxy's own; whatever comes before the response is dropped."""
        with Exchange(request, self.era or "modern") as exchange:
            reply = await self.call(exchange)
            if isinstance(reply, Message):
                return reply
            async for item in reply:
                if isinstance(item, Message) and item.is_response:
                    return item
        raise UpstreamExited("the server process ended before it answered")

    # ------------------------------------------------ the server's side
    def deliver(self, line: bytes) -> None:
        try:
            message = Message.decode(line)
            if message.method is None:
                self._answer(message, len(line))
            elif "id" in message.members:
                self._request(message, len(line))
            else:
                self._notification(message, len(line))
        except BadMessage as error:
            self.dropped += 1
            log.warning("the server wrote something that is no message on stdout; it was dropped", extra={"reason": str(error), "line": repr(line[:200])})

    def _answer(self, message: Message, size: int) -> None:
        id = message.members.get("id")
        slot = None if id is None else self.waiting.pop(bytes(id), None)
        if slot is None:
            return self._drop(message, size)
        message.members["id"] = slot.id
        if slot.listens:
            _restore_subscription(message, slot.id)
        slot.put(message, size)

    def _request(self, message: Message, size: int) -> None:
        if self.era == "modern":  # servers must not send requests (2026-07-28, basic/index.mdx)
            self.refuse(message, INVALID_REQUEST, "a server sends no requests in 2026-07-28", size)
        else:
            self.unasked(message, size)

    def refuse(self, message: Message, code: int, text: str, size: int) -> None:
        """Answer a request of the server with an error; one that asks and does not read gets no more of them."""
        if self.outbox.size < CHUNK:
            self.outbox.put_nowait(error_reply(message.id, code, text).line())
        else:
            self._drop(message, size)

    def _notification(self, message: Message, size: int) -> None:
        if message.method == _PROGRESS:
            return self._progress(message, size)
        if self.era != "modern":
            return self.unasked(message, size)
        subscription = message.meta().get(META_SUBSCRIPTION) if message.mentions(META_SUBSCRIPTION.encode()) else None
        if subscription is not None:
            return self._subscribed(message, subscription, size)
        if message.method == _CANCEL:
            return self._torn_down(message)
        self._unattributed(message, size)

    def _progress(self, message: Message, size: int) -> None:
        params = message.params()
        token = params.get("progressToken")
        slot = None if token is None else self.waiting.get(bytes(token))
        if slot is None or slot.token is None:
            return self._drop(message, size)
        params["progressToken"] = slot.token
        slot.put(message, size)

    def _subscribed(self, message: Message, subscription: Any, size: int) -> None:
        slot = self.waiting.get(_bare(subscription))
        if slot is None:
            return self._drop(message, size)
        message.meta()[META_SUBSCRIPTION] = slot.id
        slot.put(message, size)

    def _torn_down(self, message: Message) -> None:
        """A server may end a subscription by `notifications/cancelled`; on HTTP that is its empty result (subscriptions.mdx)."""
        key = _bare(message.params().get("requestId", Raw(b"null")))
        slot = self.waiting.get(key)
        if slot is None or not slot.listens:
            return self._drop(message, 0)
        del self.waiting[key]
        meta = {META_SUBSCRIPTION: slot.id}
        slot.put(Message({"jsonrpc": "2.0", "id": slot.id, "result": {"resultType": "complete", "_meta": meta}}, None), 0)

    def _unattributed(self, message: Message, size: int) -> None:
        """A log line says not whose it is: it goes to the one request that asked for logs, and to nobody when there are several."""
        asked = [slot for slot in self.waiting.values() if slot.wants_log]
        if message.method == _LOG and len(asked) == 1:
            asked[0].put(message, size)
        else:
            self._drop(message, size)

    def too_large(self, head: bytes) -> None:
        """A line past the limit was discarded: whoever waits for it is told, if its id can be found."""
        self.dropped += 1
        envelope = _BODY.split(head, maxsplit=1)[0].replace(b" ", b"")  # what is within may have an "id" of its own
        for key, slot in self.waiting.items():
            if b'"id":' + key + b"," in envelope:
                del self.waiting[key]
                slot.fail(MessageTooLarge(f"the server's answer is larger than {self._config.limits.message} bytes (limits.message)", status=502))
                return

    def _drop(self, message: Message, size: int) -> None:
        self.dropped += 1
        log.info("a message of the server belongs to nobody and was dropped", extra={"method": message.method, "bytes": size})


def _restore_subscription(message: Message, id: Raw | None) -> None:
    """The end of a subscription names it once more, by what the server knows it as."""
    try:
        meta = message.level(message.result(), "_meta")
    except BadMessage:
        return
    if META_SUBSCRIPTION in meta:
        meta[META_SUBSCRIPTION] = id


def _bare(id: Any) -> bytes:
    """A wire id as the table has it, although the server may have made a string of it."""
    data = bytes(id)
    return (text_of(id) or "").encode() if data[:1] == b'"' else data
