"""Our HTTP/1.1 server: one connection's requests, in the connection's own task, for an ASGI application.

In: a `Connection`, an ASGI app, limits and deadlines. Out: the app called once per request. Owns no task and spawns none: the app runs in
the task that calls `Http1.run`, and `receive()` does the reading. The caller aborts the connection afterwards.

Framing is llhttp's (`httptools`), which refuses what smuggling needs. What it does not check is checked here: sizes and counts, one Host,
known versions; offers to upgrade are ignored. Every wait has a deadline that the server's sweeper looks at (`expire`), so that none costs a scope of its own;
likewise the deadline of the exchange itself, which the app asks for by the ASGI extension `shadowproxy.limit`.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import httptools
import trio

from shadowproxy.config import Limits, Timeouts
from shadowproxy.connection import Connection
from shadowproxy.downstream.http1_request import BodyTooLarge, Request, canned

App: TypeAlias = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
_VERSIONS = ("1.1", "1.0")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""With which an HTTP/2 client begins (RFC 9113, 3.4), by prior knowledge where there is no TLS to agree on it."""


class Http2(Exception):
    """The client speaks HTTP/2; `first` are the bytes read so far."""

    def __init__(self, first: bytes) -> None:
        super().__init__("HTTP/2")
        self.first = first


class Refused(Exception):
    """A request that is not served: the status to answer with before the connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Http1:
    """The requests of one connection. The parser calls the `on_…` methods, synchronously, from `fill`."""

    __slots__ = (
        "_base",
        "_before",
        "_chunk",
        "_extensions",
        "_fault",
        "_fed",
        "_fresh",
        "_headers",
        "_moved",
        "_partial",
        "_target",
        "app",
        "closing",
        "connection",
        "deadline",
        "eof",
        "limits",
        "parser",
        "queue",
        "reason",
        "scope",
        "timeouts",
    )  # fmt: skip

    def __init__(self, connection: Connection, app: App, base: dict[str, Any], limits: Limits, timeouts: Timeouts) -> None:
        self.connection, self.app, self._base, self.limits, self.timeouts = connection, app, base, limits, timeouts
        self._extensions: dict[str, Any] = base.get("extensions", {})
        self.parser = httptools.HttpRequestParser(self)
        self.queue: deque[Request] = deque()
        self.eof = False
        self.closing = False  # draining: this response is the connection's last
        self.deadline: float | None = None  # of the wait for a head or a body; the sweeper looks at it
        self.scope = trio.CancelScope()
        self.reason = ""
        self._headers: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._fresh = True  # nothing has been read yet
        self._partial = False  # inside a head
        self._moved = False  # the parser got past something other than a header field
        self._fed = self._chunk = self._before = 0  # bytes since the parser moved; now being fed; fed before them since the head under way began
        self._fault: Refused | BodyTooLarge | None = None  # of what came behind the requests that wait

    # ------------------------------------------------ the parser's callbacks
    def on_message_begin(self) -> None:
        self._headers, self._target, self._before = [], b"", 0
        self._partial = self._moved = True

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))  # llhttp trims the front only

    def on_headers_complete(self) -> None:
        headers = self._headers
        version = self.parser.get_http_version()
        self._check_count()
        if version not in _VERSIONS:
            raise Refused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        known = dict(headers)
        self._check_hosts(known, version)
        if b"transfer-encoding" in known:
            self._check_codings(version)
        elif b"content-length" in known and int(known[b"content-length"]) > self.limits.body:
            raise Refused(413, f"the body is larger than {self.limits.body} bytes (limits.body)")
        if self._before + self._chunk > self.limits.head:
            self._check_size()
        if self._target[:1] != b"/":
            self._check_authority()
        self.queue.append(Request(self, self._target, headers, known, version))
        self._headers = []  # trailers go to a list that nobody reads
        self._partial, self._moved = False, True

    def _check_count(self) -> None:
        if len(self._headers) > self.limits.headers:
            raise self._too_many()

    def _check_hosts(self, known: dict[bytes, bytes], version: str) -> None:
        twice = len(known) != len(self._headers) and [name for name, _ in self._headers].count(b"host") > 1
        if twice or (version == "1.1" and b"host" not in known):
            raise Refused(400, "a request needs exactly one Host header")

    def _check_size(self) -> None:
        """Of a head that came with so many bytes that it may be too large; some of them may be another request's."""
        size = sum([len(name) + len(value) + 4 for name, value in self._headers])
        if size + len(self._target) > self.limits.head:
            raise Refused(431, f"the head is larger than {self.limits.head} bytes (limits.head)")

    def _check_codings(self, version: str) -> None:
        """What is chunked must not be compressed beneath: nobody here would undo it (RFC 9112, 6.1). Other ends of the list are llhttp's to refuse."""
        if version == "1.0":
            raise Refused(400, "HTTP/1.0 knows no transfer codings")  # faulty framing (RFC 9112, 6.1): what would follow may be no request
        codings = b",".join([value for name, value in self._headers if name == b"transfer-encoding"]).lower().split(b",")
        if len(codings) > 1 and codings[-1].strip() == b"chunked":
            raise Refused(501, "no transfer coding but chunked is known here")

    def _check_authority(self) -> None:
        """A target may name a host; it must be that of the Host field, by which the application judges (RFC 9112, 3.2.2)."""
        _, scheme, rest = self._target.partition(b"://")
        authority = rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
        if scheme and authority.lower() != dict(self._headers).get(b"host", b"").lower():
            raise Refused(400, "the target names another host than the Host header")

    def on_body(self, data: bytes) -> None:
        self._moved = True
        self.queue[-1].add(data)

    def on_message_complete(self) -> None:
        if self._headers:
            self._check_count()  # of trailers
        self._moved = True
        self.queue[-1].complete = True

    # ------------------------------------------------ reading
    async def fill(self) -> None:
        """Read once and feed the parser. Sets `eof` at the end. Raises `Refused`, `BodyTooLarge`."""
        data = await self.connection.read() if self._fault is None else b""
        if not data:
            self.eof = True
            return
        if self._fresh:
            data = await self._sniff(data)
        self._moved, self._chunk = False, len(data)
        while True:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:
                rest = data[offer.args[0] :]
            except httptools.HttpParserError as error:
                self._fail(self._fault_of(error))
                break
            if (data := self._without_offer(rest)) == b"":
                break
        if self._partial:
            self._before += len(data)
        if len(self._headers) > self.limits.headers:  # of a head that goes on, or of trailers
            self._fail(self._too_many())
        # What the parser keeps without telling us (half a field, a chunk extension, trailers) is bounded too.
        self._fed = 0 if self._moved else self._fed + len(data)
        if self._fed > self.limits.head:
            raise Refused(431, f"the head is larger than {self.limits.head} bytes (limits.head)")

    def _fault_of(self, error: httptools.HttpParserError) -> Refused | BodyTooLarge:
        """Ours, or the parser's; but fields that are too many are that, wherever the bytes were cut."""
        cause = error.__context__
        if isinstance(cause, (Refused, BodyTooLarge)):
            return cause
        if len(self._headers) > self.limits.headers:
            return self._too_many()
        return Refused(400, f"not a valid HTTP/1.1 request: {error}")

    def _too_many(self) -> Refused:
        return Refused(431, f"more than {self.limits.headers} header fields (limits.headers)")

    def _without_offer(self, rest: bytes) -> bytes:
        """The newest request again, without its offer to speak another protocol (RFC 9110, 7.8 lets a server ignore that), and `rest`, to be fed anew.

        For the parser takes what follows such an offer for that other protocol, the request's own body included.
        """
        request = self.queue.pop()
        if request.method == "CONNECT":
            self._fail(Refused(501, "this is no proxy for CONNECT"))
            return b""
        self.parser = httptools.HttpRequestParser(self)
        fields = b"".join([b"%b: %b\r\n" % field for field in request.headers if field[0] != b"upgrade"])
        return b"%b %b HTTP/%b\r\n%b\r\n%b" % (request.method.encode(), request.target, request.version.encode(), fields, rest)

    def _fail(self, fault: Refused | BodyTooLarge) -> None:
        """The newest request, or what follows it, cannot be served. Those that came whole before it are answered first."""
        while self.queue and not self.queue[-1].complete:
            if len(self.queue) == 1:  # it is under way
                raise fault from None
            self.queue.pop()
        if not self.queue:
            raise fault from None
        self._fault = fault

    async def _sniff(self, data: bytes) -> bytes:
        """The first bytes tell HTTP/2 from HTTP/1.1. Raises `Http2`."""
        self._fresh = False
        while len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._partial, self.deadline = True, trio.current_time() + self.timeouts.head
            more = await self.connection.read()
            if not more:
                break
            data += more
        if data.startswith(PREFACE):
            raise Http2(data)
        return data

    # ------------------------------------------------ the connection's life
    async def run(self) -> None:
        """Serve requests until either side has had enough. Nothing but bugs and `PeerGone` comes out of it."""
        try:
            while True:
                with self.scope:
                    await self._requests()
                    return
                if not await self._late():
                    return
                self.scope = trio.CancelScope()
        except (Refused, BodyTooLarge) as error:
            await self._refuse(error)

    async def _requests(self) -> None:
        while True:
            if self.queue:  # pipelined: others first
                await trio.lowlevel.checkpoint()
            elif self._fault is not None:
                raise self._fault
            else:
                await self._wait_for_head()
                if self.eof:
                    return
            request = self.queue[0]
            await self.app(self._asgi_scope(request), request.receive, request.send)
            if not request.finished():
                return await self._close(request)
            self.queue.popleft()

    async def _wait_for_head(self) -> None:
        if self.closing:
            self.eof = True
            return
        self.deadline = trio.current_time() + (self.timeouts.head if self._partial else self.timeouts.idle)
        await self.fill()
        if not self.queue and not self.eof:
            self.deadline = trio.current_time() + self.timeouts.head
            while not self.queue and not self.eof:
                await self.fill()
        self.deadline = None

    def _asgi_scope(self, request: Request) -> dict[str, Any]:
        path, _, query = request.target.partition(b"?")
        if path[:1] != b"/":
            path = _origin_form(path)
        text = path.decode("latin-1") if b"%" not in path else unquote_to_bytes(path).decode("utf-8", "replace")
        return {**self._base, "http_version": request.version, "method": request.method, "path": text, "raw_path": path, "query_string": query,
                "headers": request.headers, "extensions": {**self._extensions, "shadowproxy.limit": request, "shadowproxy.fields": request.known}}  # fmt: skip

    async def _late(self) -> bool:
        """The scope was cancelled: the exchange's time is up, its client has left, or we drain. Whether the connection goes on. Raises `Refused`."""
        if self.reason == "expired":
            raise Refused(408, "the request did not arrive in time")
        if self.connection.gone or not self.queue:
            return False
        request = self.queue[0]
        late, request.late = request.late, None
        if late is None or request.done:
            return False
        with trio.move_on_after(self.timeouts.write):
            await late(self.reason)
        if not request.finished():
            return False
        self.queue.popleft()
        return True

    async def _close(self, request: Request) -> None:
        """After an answer that ended the connection: let the client read it although we did not read all that it sent."""
        if request.done:
            await self.connection.finish()

    @property
    def begun(self) -> bool:
        return bool(self.queue) and self.queue[0].begun

    async def _refuse(self, error: Refused | BodyTooLarge) -> None:
        if self.begun:
            return
        status, text = (error.status, error.text) if isinstance(error, Refused) else (413, str(error))
        await self.connection.write(canned(status, text))
        await self.connection.finish()

    # ------------------------------------------------ what the server's sweeper calls, synchronously
    def sweep(self, now: float) -> None:
        """Late by the sweeper's period at most."""
        if self.deadline is not None:
            if self.deadline < now:
                self._expire()
        elif self.queue:
            self.queue[0].sweep(now)

    def _expire(self) -> None:
        if self._partial or self.queue:  # a head or a body that did not come in time
            self.cut("expired")
        else:
            self.connection.abort()

    def cancel(self, reason: str) -> None:
        """End the exchange under way, in its own way if it has one."""
        end = self.queue[0].standing if self.queue else None
        (end or self.cut)(reason)

    def cut(self, reason: str) -> None:
        """Cancel the exchange under way; its `late` answers in its stead. Who came first says why."""
        if not self.scope.cancel_called:
            self.reason = reason
        self.scope.cancel(reason=reason)

    def drain(self) -> None:
        """No further request: an idle connection closes now, a standing stream ends politely, another one after its answer."""
        self.closing = True
        if not self.queue and not self._partial:
            self.connection.abort()
        elif self.queue and self.queue[0].standing is not None:
            self.cancel("drain")


def _origin_form(target: bytes) -> bytes:
    """The path of an absolute-form target (RFC 9112, 3.2.2); "*" stays as it is."""
    _, scheme, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if scheme else target
