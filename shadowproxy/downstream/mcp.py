"""The MCP endpoint: one ASGI application for both eras of Streamable HTTP.

In: POST, GET, DELETE, OPTIONS. Out: exchanges given to the gateway, their replies as JSON or as events.
It owns no task: an exchange lives in the task that calls the application, and every failure of an exchange ends here as an error reply.
Legacy sessions belong to the session table; this file finds and opens them.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

from shadowproxy.config import Config
from shadowproxy.connection import PeerGone
from shadowproxy.downstream import answer
from shadowproxy.downstream.answer import Send
from shadowproxy.downstream.batch import Batch
from shadowproxy.downstream.origins import Origins
from shadowproxy.downstream.own_limit import UNDER_WAY
from shadowproxy.downstream.sse2024 import Streams2024
from shadowproxy.downstream.stream import Stream, within_own_limit
from shadowproxy.errors import Forbidden, MessageTooLarge, ProxyError, SpecError, Unsupported, UpstreamAnswered
from shadowproxy.exchange import NOTHING, Era, Exchange, Headers, Session
from shadowproxy.gateway import Gateway
from shadowproxy.sessions.table import Sessions
from shadowproxy.wire.eras import BATCHING, HEADER_MISMATCH, META_VERSION, era_of, is_legacy_header
from shadowproxy.wire.jsonrpc import INVALID_REQUEST, BadMessage, Message, Raw, decode_batch, is_batch, key_of
from shadowproxy.wire.mcp_http import accepts

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Run: TypeAlias = Callable[[Stream], Awaitable[None]]
_META_VERSION: Final = META_VERSION.encode()
_JSON: Final = b"application/json"
_NONE: Final[dict[str, Any]] = {}
_ALLOW: Final = (b"allow", b"POST, GET, DELETE, OPTIONS")
_ONCE: Final = (b"mcp-session-id", b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"content-type", b"origin", b"last-event-id", b"authorization")


class Endpoint:
    """`config.path` is where it answers; the rest is 404."""

    def __init__(self, config: Config, gateway: Gateway, sessions: Sessions, origins: Origins) -> None:
        self._config, self._gateway, self._sessions, self._origins = config, gateway, sessions, origins
        self._path = config.path
        self._streams = Streams2024(config, gateway)
        self._old_paths = {config.sse_path, self._streams.messages} if config.sse_path else set()
        self._paths = {config.path, config.path.rstrip("/") + "/"} | self._old_paths

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers: Headers = scope["headers"]
        known = (scope.get("extensions") or _NONE).get("shadowproxy.fields") or dict(headers)  # our server has made it already
        try:
            self._admit(scope, known, headers)
            method = scope["method"]
            if method == "OPTIONS":
                return await _preflight(send, known)
            if b"origin" in known:
                send = partial(_send_cors, send, known[b"origin"])
            if scope["path"] in self._old_paths:
                await self._legacy_transport(scope, receive, send)
            elif method == "POST":
                await self._post(scope, receive, send, known, headers)
            elif method == "GET":
                await self._get(scope, receive, send, known, headers)
            elif method == "DELETE":
                await self._delete(send, known, headers)
            else:
                raise Unsupported(f"{method} is not served here; POST a JSON-RPC message")
        except (ProxyError, BadMessage) as error:
            await _refuse(send, error, None)

    def _admit(self, scope: dict[str, Any], known: dict[bytes, bytes], headers: Headers) -> None:
        """Path, Host, Origin, and no header twice that decides anything."""
        if scope["path"] not in self._paths:
            raise Unsupported(f"nothing is served at {scope['path']}; the MCP endpoint is {self._path}", status=404)
        if not self._origins.host(known.get(b"host", b"localhost")):
            raise Forbidden("this Host is not served here; name it with --allow-host (allowed_hosts) if it is yours")
        if (origin := known.get(b"origin")) is not None and not self._origins.origin(origin):
            raise Forbidden("pages of this Origin may not send requests here; name it with --allow-origin (allowed_origins) if it is yours")
        if len(known) != len(headers):
            names = [name for name, _ in headers]
            for name in _ONCE:
                if names.count(name) > 1:
                    raise SpecError(400, HEADER_MISMATCH, f"the header {name.decode()} is there more than once")

    async def _legacy_transport(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The two endpoints of 2024-11-05."""
        if scope["path"] == self._streams.messages and scope["method"] == "POST":
            await self._streams.post(scope, await self._body(receive), send)
        elif scope["path"] == self._config.sse_path and scope["method"] == "GET":
            await self._streams.stream(scope, receive, send)
        else:
            raise Unsupported(f"{scope['method']} is not served at {scope['path']}: GET {self._config.sse_path}, POST to the endpoint that it names")

    # ------------------------------------------------ POST
    async def _post(self, scope: dict[str, Any], receive: Receive, send: Send, known: dict[bytes, bytes], headers: Headers) -> None:
        kind = known.get(b"content-type", b"")
        if kind != _JSON and kind.partition(b";")[0].strip().lower() != _JSON:
            raise Unsupported("POST needs content-type: application/json", status=415)
        body = await self._body(receive)
        if is_batch(body):
            return await self._post_batch(scope, receive, send, body, known, headers)
        message = Message.decode(body)
        exchange: Exchange | None = None
        try:
            exchange = self._exchange(message, known, headers)
            if not message.is_request:
                return await self._notify(exchange, send)
        except (ProxyError, BadMessage) as error:
            self._gateway.aside(exchange or Exchange(message, "legacy", None, headers), error)
            return await _refuse(send, error, message.id)
        await self._bounded(self._run, Stream(send, exchange, self._config.timeouts, self._gateway.aside), scope, receive, exchange.era == "modern")

    def _exchange(self, message: Message, known: dict[bytes, bytes], headers: Headers) -> Exchange:
        """Whose message it is and in which era. Raises `ProxyError`, `BadMessage`."""
        era = _era(message, known.get(b"mcp-protocol-version"))
        if message.is_request:
            key_of(message.members["id"])
        session = self._session_of(message, known) if era == "legacy" else None
        exchange = Exchange(message, era, session, headers)
        if session is not None:
            self._sessions.hold(session, exchange)
        return exchange

    async def _notify(self, exchange: Exchange, send: Send) -> None:
        with exchange:
            await self._gateway.notify(exchange)
        await answer.send_body(send, 202, b"", exchange.reply_headers)

    async def _body(self, receive: Receive) -> bytes:
        event = await receive()
        if event["type"] != "http.request":
            raise PeerGone("the client left before its request was complete")
        body: bytes = event["body"]
        if event["more_body"]:
            parts, size = [body], len(body)
            while event["more_body"] and size <= self._config.limits.body:
                event = await receive()
                if event["type"] != "http.request":
                    raise PeerGone("the client left before its request was complete")
                parts.append(event["body"])
                size += len(event["body"])
            body = b"".join(parts)
        if len(body) > self._config.limits.body:
            raise MessageTooLarge(f"the body is larger than {self._config.limits.body} bytes (limits.body)")
        return body

    def _session_of(self, message: Message | None, known: dict[bytes, bytes]) -> Session | None:
        """The session named, or a new one for `initialize`; None leaves it to the upstream whether one is needed."""
        id = known.get(b"mcp-session-id")
        if id is not None:
            return self._sessions.find(id)
        if message is not None and message.method == "initialize" and message.is_request:
            return self._sessions.prepare()
        return None

    async def _post_batch(self, scope: dict[str, Any], receive: Receive, send: Send, body: bytes, known: dict[bytes, bytes], headers: Headers) -> None:
        session = self._session_of(None, known)
        version = known.get(b"mcp-protocol-version", b"").decode("latin-1") or (session.version if session else None)
        if version not in (None, BATCHING):
            raise SpecError(400, INVALID_REQUEST, f"batches exist in {BATCHING} only; send one message a request")
        messages = decode_batch(body)
        exchanges = [Exchange(message, "legacy", session, headers) for message in messages]
        with Exchange(NOTHING, "legacy", session, headers) as whole:
            if session is not None:
                self._sessions.hold(session, whole)
            batch = Batch(send, whole, self._config.timeouts, self._gateway, exchanges)
            if await batch.notify():
                return await answer.send_body(send, 202, b"", ())
            await self._bounded(lambda _: batch.answer(), batch, scope, receive, False)

    # ------------------------------------------------ one exchange
    def _bounded(self, run: Run, stream: Stream, scope: dict[str, Any], receive: Receive, cancel_when_gone: bool) -> Awaitable[None]:
        """Run it under the request's deadline: our server lends its connection's scope, on another one it needs a scope of its own."""
        extensions = scope.get("extensions")
        limit = None if extensions is None else extensions.get("shadowproxy.limit")
        if limit is None:
            return within_own_limit(run, stream, receive, self._config.timeouts.request, cancel_when_gone, (extensions or {}).get(UNDER_WAY))
        stream.limit = limit
        limit.limit(self._config.timeouts.request, stream.late, cancel_when_gone)
        return run(stream)

    async def _run(self, stream: Stream) -> None:
        """The exchange boundary: any failure becomes an error reply and ends here."""
        exchange = stream.exchange
        try:
            with exchange:
                reply = await self._gateway.call(exchange)
                if exchange.request.method == "initialize":
                    self._sessions.admit(exchange, reply)
                if not isinstance(reply, Message):
                    return await stream.events(reply)
            await stream.whole(reply)
        except UpstreamAnswered as error:
            await stream.passed(error)
        except ProxyError as error:
            await stream.refuse(error)
        except BadMessage as error:
            await stream.refuse(SpecError(400, error.code, str(error)))
        finally:
            if exchange.session is not None and exchange.request.method == "initialize":
                self._sessions.settle(exchange.session)

    # ------------------------------------------------ GET, DELETE
    async def _get(self, scope: dict[str, Any], receive: Receive, send: Send, known: dict[bytes, bytes], headers: Headers) -> None:
        if not is_legacy_header(known.get(b"mcp-protocol-version")):
            raise Unsupported("GET streams belong to the revisions before 2026-07-28; use subscriptions/listen")
        if not accepts(b"text/event-stream", headers):
            raise Unsupported("GET gives an event stream; accept text/event-stream", status=406)
        if b"text/event-stream" not in known.get(b"accept", b""):  # by a wildcard; to its server a client must name it
            headers = [*(field for field in headers if field[0] != b"accept"), (b"accept", b"text/event-stream")]
        session = self._session_of(None, known)
        with Exchange(NOTHING, "legacy", session, headers) as exchange:
            exchange.last_event_id = known.get(b"last-event-id")
            if session is not None:
                self._sessions.hold(session, exchange, listening=True)
            stream = Stream(send, exchange, self._config.timeouts, self._gateway.aside)
            await self._bounded(self._listen, stream, scope, receive, True)

    async def _listen(self, stream: Stream) -> None:
        """Like `_run`: nothing but the client's leaving comes out of it, because half an answer may be out already."""
        try:
            await stream.standing(await self._gateway.listen(stream.exchange))
        except UpstreamAnswered as error:
            await stream.passed(error)
        except ProxyError as error:
            await stream.refuse(error)

    async def _delete(self, send: Send, known: dict[bytes, bytes], headers: Headers) -> None:
        session = self._session_of(None, known)
        if session is None and not is_legacy_header(known.get(b"mcp-protocol-version")):
            raise Unsupported("sessions belong to the revisions before 2026-07-28: there is nothing to delete")
        with Exchange(NOTHING, "legacy", session, headers) as exchange:
            await self._gateway.end(exchange)
        if session is not None:
            session.end()
        await answer.send_body(send, exchange.status, b"", exchange.reply_headers)


def _era(message: Message, header: bytes | None) -> Era:
    """Most messages are told by their header; only one that may carry modern `_meta` is looked into."""
    return era_of(message.params() if message.mentions(_META_VERSION) else None, header)


async def _refuse(send: Send, error: ProxyError | BadMessage, id: Raw | None) -> None:
    """What never became an exchange, or expects no answer, is refused here."""
    if isinstance(error, BadMessage):
        error = SpecError(400, error.code, str(error))
    if isinstance(error, UpstreamAnswered):
        await answer.send_body(send, error.http_status, error.body, error.fields)
    else:
        await answer.refuse(send, error, id, (_ALLOW,) if error.http_status == 405 else ())


# ---------------------------------------------------- web pages (Fetch standard, "CORS protocol")
_EXPOSED: Final = (b"access-control-expose-headers", b"mcp-session-id, www-authenticate, retry-after")
_VARY: Final = (b"vary", b"origin")


async def _send_cors(send: Send, origin: bytes, event: dict[str, Any]) -> None:
    if event["type"] == "http.response.start":
        fields = ((b"access-control-allow-origin", origin), _EXPOSED, _VARY)
        event = {**event, "headers": (*[f for f in event["headers"] if not f[0].startswith(b"access-control-")], *fields)}
    await send(event)


async def _preflight(send: Send, known: dict[bytes, bytes]) -> None:
    fields = [(b"access-control-allow-methods", b"POST, GET, DELETE"), (b"access-control-max-age", b"600"), _ALLOW]
    if (origin := known.get(b"origin")) is not None:
        fields += [(b"access-control-allow-origin", origin), _VARY]
    if (asked := known.get(b"access-control-request-headers")) is not None:
        fields.append((b"access-control-allow-headers", asked))
    await send({"type": "http.response.start", "status": 204, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
