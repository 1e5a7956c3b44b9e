"""A client without a client: requests one by one, straight to the gateway, their replies as plain JSON.

In: methods and parameters. Out: responses; an error is one too. What the server asks meanwhile gets an error for an answer, which is enough for a tape to
go on; for more put a client before it. Owns no task, and keeps one session.
"""
from __future__ import annotations

import json
from typing import Any, TypeAlias

from shadowproxy.errors import ProxyError
from shadowproxy.exchange import Exchange, Session
from shadowproxy.gateway import Gateway
from shadowproxy.wire.eras import era_of
from shadowproxy.wire.jsonrpc import METHOD_NOT_FOUND, Message, error_reply, text_of

Json: TypeAlias = dict[str, Any]


class Asking:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._session: Session | None = None
        self._asked = 0

    async def request(self, method: str, params: Json | None = None) -> Json:
        """The response: `{"result": …}` or `{"error": …}`, with whatever else it has."""
        self._asked += 1
        exchange = self._exchange(method, params, self._asked)
        try:
            with exchange:
                reply = await self._response(exchange)
        except ProxyError as error:
            reply = error_reply(exchange.id, error.rpc_code, error.message, error.payload())
        found: Json = json.loads(reply.encode())
        return found

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Raises `ProxyError` if it cannot be said."""
        with self._exchange(method, params) as exchange:
            await self._gateway.notify(exchange)

    def end(self) -> None:
        if self._session is not None:
            self._session.end()

    async def _response(self, exchange: Exchange) -> Message:
        reply = await self._gateway.call(exchange)
        if isinstance(reply, Message):
            return self._learnt(exchange, reply)
        async for item in reply:
            if isinstance(item, Message) and item.is_response:
                return self._learnt(exchange, item)
            if isinstance(item, Message) and item.is_request:
                refusal = error_reply(item.id, METHOD_NOT_FOUND, "nobody is there to answer")
                with Exchange(refusal, exchange.era, exchange.session) as answer:
                    await self._gateway.notify(answer)
        raise ProxyError("the stream ended without a response")

    def _learnt(self, exchange: Exchange, reply: Message) -> Message:
        if exchange.request.method == "initialize" and exchange.session is not None and "result" in reply.members:
            exchange.session.version = text_of(reply.result().get("protocolVersion", b""))
        return reply

    def _exchange(self, method: str, params: Json | None, id: int | None = None) -> Exchange:
        members = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params}), **({} if id is None else {"id": id})}
        message = Message.decode(json.dumps(members).encode())
        era = era_of(message.params(), None)
        if era == "legacy" and (self._session is None or self._session.ended or method == "initialize"):
            self.end()
            self._session = Session(b"test")
        return Exchange(message, era, self._session if era == "legacy" else None)
