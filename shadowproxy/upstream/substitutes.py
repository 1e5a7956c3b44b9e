"""Ids that one legacy session has in flight twice: all but the first go to an HTTP upstream under an id of the proxy's.

In: exchanges whose id is in flight already, and their session's notifications. Out: ids, and `notifications/cancelled` by the id that the
server knows. Owns nothing but this table, whose entries go with their exchanges. Nobody pays who does not use an id twice.
"""
from __future__ import annotations

import itertools
from collections.abc import Container

from shadowproxy.exchange import Exchange, Session
from shadowproxy.wire.jsonrpc import BadMessage, Message, Raw, key_of

_CANCELLED = "notifications/cancelled"


class Substitutes:
    def __init__(self) -> None:
        self._number = itertools.count(1)
        self.of: dict[tuple[Session | None, bytes], list[bytes]] = {}  # by session and the client's id, newest last

    def take(self, exchange: Exchange, key: bytes, flying: Container[bytes]) -> bytes:
        """An id that is not `flying`, for an exchange whose own, `key`, is or has a substitute; until the exchange is left."""
        substitute = key
        while substitute in flying:  # a client may call its requests that, too
            substitute = b'"shadowproxy-%d"' % next(self._number)
        self.of.setdefault((exchange.session, key), []).append(substitute)
        exchange.on_leave(self._left, (exchange.session, key), substitute)
        return substitute

    def _left(self, place: tuple[Session | None, bytes], substitute: bytes) -> None:
        ids = self.of.get(place, [])
        if substitute in ids:
            ids.remove(substitute)
        if not ids:
            self.of.pop(place, None)

    def crossing(self, exchange: Exchange) -> Message:
        """The notification as the server is to get it. A cancellation means the newest request of that id that was not cancelled yet:
        a client that uses an id again has nothing left to know the older ones by."""
        message = exchange.request
        if not self.of or message.method != _CANCELLED:
            return message
        try:
            params = message.params()
            place = exchange.session, key_of(params.get("requestId", Raw(b"null")))
        except BadMessage:
            return message  # the server's to judge
        ids = self.of.get(place)
        if ids is None:
            return message
        substitute = ids.pop()
        if not ids:
            del self.of[place]
        return Message({**message.members, "params": {**params, "requestId": Raw(substitute)}}, message.method)
