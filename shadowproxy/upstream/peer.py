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
from shadowproxy.upstream.batches import may_batch
from shadowproxy.upstream.slot import Slot
from shadowproxy.wire.eras import META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_SUBSCRIPTION, META_VERSION, MODERN_VERSIONS
from shadowproxy.wire.jsonrpc import INVALID_REQUEST, BadMessage, Message, Raw, as_line, encode, error_reply, is_batch, key_of, text_of, unpack
from shadowproxy.wire.levels import admits

log = logging.getLogger("shadowproxy")

#: While less than this is queued, a line is added without a further look.
CHUNK = 1 << 18
CANCELLED: Final = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"%b"}}\n'
_META: Final = {META_VERSION: MODERN_VERSIONS[-1], META_CAPABILITIES: {}, META_CLIENT: {"name": "shadowproxy", "version": "0"}}
_SOUNDING: Final = b'{"jsonrpc":"2.0","id":%%b,"method":"server/discover","params":%b}\n' % encode({"_meta": _META})
_PROGRESS, _LOG, _CANCEL = "notifications/progress", "notifications/message", "notifications/cancelled"
_TOOLS_CHANGED: Final = "notifications/tools/list_changed"
_LISTEN: Final = "subscriptions/listen"
_NOTED: Final = frozenset({_LISTEN, "initialize"})
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
        self.on_abandoned: Callable[[Slot], None] | None = None  # an exchange was left, or cancelled, before its response had been taken
        self.on_tools_changed: Callable[[], None] | None = None
        self.version: str | None = None  # of a legacy server, once it has answered `initialize`
        self.dropped = 0  # messages that belonged to nobody
        self.scope = trio.CancelScope()
        self._next = 0
        self._sounding: bytes | None = None  # the wire id of our own question that waits for its answer
        self._refusals = 0  # bytes of errors queued since the server was last seen to read
        self._failure: ProxyError | None = None

    @property
    def alive(self) -> bool:
        return self._failure is None and not self.scope.cancel_called

    @property
    def over(self) -> bool:
        """It has failed, and everybody was told."""
        return self._failure is not None

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
        exchange.on_leave(self._leave, key, slot, exchange.request.method)
        return slot, line

    def _line(self, request: Message, key: bytes, slot: Slot) -> bytes:
        """The request as it goes over the pipe. The client's own message stays as it is: the tape has it."""
        wire = Raw(key)
        if request.method in _NOTED:
            slot.listens = request.method == _LISTEN
            slot.greets = not slot.listens
        if self.era == "modern":
            slot.log_level = request.meta().get(META_LOG_LEVEL)
        if request.mentions(_TOKEN) and (token := request.meta().get("progressToken")) is not None:
            slot.token = token
            params = {**request.params(), "_meta": {**request.meta(), "progressToken": wire}}
            return as_line(encode({**request.members, "id": wire, "params": params}))
        return as_line(request.encode_as(wire))

    def _leave(self, key: bytes, slot: Slot, method: str | None) -> None:
        """The exchange is over; if its answer is not here, the child may stop working on it (`initialize` must not be cancelled)."""
        if self.waiting.pop(key, None) is not None and self._failure is None and method != "initialize":
            self.outbox.put_nowait(CANCELLED % (key, b"the client no longer waits for it"))
            if slot.log_level is not None:
                self._sound()
        if not slot.last and self.on_abandoned is not None:
            self.on_abandoned(slot)

    def _sound(self) -> None:
        """Ask something: until that is answered, log lines may still be those of a request whose cancellation the server has not read yet."""
        self._next += 1
        self._sounding = b"%d" % self._next
        self.outbox.put_nowait(_SOUNDING % self._sounding)

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
        """A legacy client's `notifications/cancelled`, as it goes over the pipe; its exchange ends here. None: its session has no such request open.

        Of several in flight under one id the newest is meant: a client that uses an id again has nothing left to know the older ones by.
        """
        params = message.params()
        try:
            wanted = key_of(params.get("requestId", Raw(b"null")))
        except BadMessage:
            return None
        for key, slot in reversed(self.waiting.items()):
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
            self._no_message(line, error)

    def _no_message(self, line: bytes, error: BadMessage) -> None:
        """Unless it is a batch, and the server of the one revision that has them."""
        if self.era == "legacy" and may_batch(self.version) and is_batch(line):
            try:
                for message in unpack(line):
                    self.deliver(message.encode())
                return
            except BadMessage as fault:
                error = fault
        self.dropped += 1
        log.warning("the server wrote something that is no message on stdout; it was dropped", extra={"reason": str(error), "line": repr(line[:200])})

    def _answer(self, message: Message, size: int) -> None:
        id = message.members.get("id")
        slot = None if id is None else self.waiting.pop(bytes(id), None)
        if slot is None and id is not None and bytes(id) == self._sounding:
            self._sounding = None
            return
        if slot is None:
            return self._drop(message, size)
        message.members["id"] = slot.id
        if slot.listens:
            _restore_subscription(message, slot.id)
        elif slot.greets and "result" in message.members:
            self.version = _agreed_in(message)
        slot.put(message, size)

    def _request(self, message: Message, size: int) -> None:
        if self.era == "modern":  # servers must not send requests (2026-07-28, basic/index.mdx)
            self.refuse(message.id, INVALID_REQUEST, "a server sends no requests in 2026-07-28")
        else:
            self.unasked(message, size)

    def refuse(self, id: Raw | None, code: int, text: str) -> None:
        """Answer a request of the server with an error; one that asks and does not read gets no more of them.

        They are counted apart from what else is queued: a large request on its way must not cost the server an answer that it waits for.
        """
        if self.outbox.size < CHUNK:
            self._refusals = 0
        if self._refusals >= CHUNK // 2:
            self.dropped += 1
            log.info("a request of the server was not answered, because it does not read", extra={"reason": text})
            return
        line = error_reply(id, code, text).line()
        self._refusals += len(line)
        self.outbox.put_nowait(line)

    def _notification(self, message: Message, size: int) -> None:
        if message.method == _PROGRESS:
            return self._progress(message, size)
        if self.era != "modern":
            return self.unasked(message, size)
        if message.method == _TOOLS_CHANGED and self.on_tools_changed is not None:
            self.on_tools_changed()
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
        """A log line belongs to the stream of one request (2026-07-28, server/utilities/logging.mdx), but on a pipe it says not of which.

        So it goes to the only one that it can be of: that asked for lines of this level. If there are several it goes to nobody, because
        it may be meant for another client's eyes (also of one who has just left: see `_sound`); but if the only client is that of our own
        standard input, any of them is right.
        """
        level = message.params().get("level")
        asked = [slot for slot in self.waiting.values() if message.method == _LOG and slot.log_level is not None and admits(slot.log_level, level)]
        if (len(asked) == 1 and self._sounding is None) or (asked and self._config.stdio and not self._config.listen):
            asked[-1].put(message, size)
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


def _agreed_in(hello: Message) -> str | None:
    """The version that the answer to `initialize` names."""
    try:
        return text_of(hello.result().get("protocolVersion"))
    except BadMessage:
        return None


def _bare(id: Any) -> bytes:
    """A wire id as the table has it, although the server may have made a string of it."""
    data = bytes(id)
    return (text_of(id) or "").encode() if data[:1] == b'"' else data
