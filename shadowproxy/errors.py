"""Everything that can go wrong, in one table: error -> HTTP status, JSON-RPC code, and the words the peer is told.

In: a failure, raised where it is noticed. Out: one `ProxyError` that carries what to tell the peer.
Codes of our own lie outside -32768..-32000, which JSON-RPC and MCP reserve (2026-07-28, basic/index.mdx, "Error Codes"), so that
nobody can take a failure of the proxy for an answer of the server. Each carries a stable name in `data.name`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class ProxyError(Exception):
    """A failure that ends one exchange and that its client is told about.

    The message says what failed and what to do next. `data` becomes `error.data` beside the stable `name`.
    """

    status: ClassVar[int] = 502
    code: ClassVar[int] = 1000
    name: ClassVar[str] = "proxy_error"

    def __init__(self, message: str, data: Mapping[str, object] | None = None, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.http_status = self.status if status is None else status
        self.rpc_code = self.code if code is None else code

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """HTTP headers that belong to this answer, beside content type and length."""
        return ()

    def payload(self) -> dict[str, object]:
        """`error.data` as the peer sees it."""
        return {"name": self.name, **(self.data or {})}


# --- the upstream's fault

class UpstreamUnreachable(ProxyError):
    """No connection could be made, or the command could not be started."""

    status, code, name = 502, 1001, "upstream_unreachable"


class UpstreamExited(ProxyError):
    """The child process ended while it was needed; `data` has its exit status and its last lines of stderr."""

    status, code, name = 502, 1002, "upstream_exited"


class UpstreamBroken(ProxyError):
    """The upstream answered, but not in its protocol, or closed the connection midway."""

    status, code, name = 502, 1003, "upstream_broken"


class UpstreamTimeout(ProxyError):
    """The answer did not come before the request's deadline (`timeouts.request`, pushed forward by progress)."""

    status, code, name = 504, 1004, "upstream_timeout"


class UpstreamRedirects(ProxyError):
    """The upstream answered with a redirect, which is never followed."""

    status, code, name = 502, 1005, "upstream_redirects"


# --- the proxy's own limits

class Overloaded(ProxyError):
    """A limit of the proxy is reached, or it is draining; try again later."""

    status, code, name = 503, 1101, "overloaded"

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return ((b"retry-after", b"1"),)


class SlowConsumer(ProxyError):
    """The client did not take messages as fast as the upstream sent them, past a bounded buffer."""

    status, code, name = 503, 1102, "slow_consumer"


class RequestCancelled(ProxyError):
    """The client itself cancelled this request with `notifications/cancelled`."""

    status, code, name = 200, 1103, "request_cancelled"


class MessageTooLarge(ProxyError):
    """One message is larger than `limits.message` (or the body than `limits.body`)."""

    status, code, name = 413, 1104, "message_too_large"


# --- the client's fault

class SessionUnknown(ProxyError):
    """The session id names no live session; the client must `initialize` anew (2025-11-25, basic/transports.mdx)."""

    status, code, name = 404, 1201, "session_unknown"


class SessionMissing(ProxyError):
    """A session is needed and the request names none."""

    status, code, name = 400, 1202, "session_missing"


class Forbidden(ProxyError):
    """The Origin or the Host header is not one that may talk to us."""

    status, code, name = 403, 1203, "forbidden"


class Unsupported(ProxyError):
    """Right words at the wrong place: a method, path or content type that is not served here."""

    status, code, name = 405, 1204, "unsupported"


class TapeMiss(ProxyError):
    """A replayed tape has no answer for this request; `data` shows the nearest recorded one. Status 200: it is an answer, in place of the server's."""

    status, code, name = 200, 1301, "tape_miss"


class SpecError(ProxyError):
    """An error that the specification itself defines, with its own code; `status` as its HTTP page says.

    Made where the proxy does a server's duty (header rules for a stdio upstream, parse errors).
    """

    def __init__(self, status: int, code: int, message: str, data: Mapping[str, object] | None = None) -> None:
        super().__init__(message, data, status=status, code=code)

    def payload(self) -> dict[str, object]:
        return dict(self.data or {})


class UpstreamAnswered(ProxyError):
    """The HTTP upstream refused in HTTP's own words (a 401 with its challenge, a plain 404, 405): passed on as it came.

    `fields` are its headers less the hop-by-hop ones; `body` is bounded by whoever read it. A stdio client gets a JSON-RPC error instead.
    """

    code, name = 1006, "upstream_refused"

    def __init__(self, status: int, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        shown = body[:200].decode("utf-8", "replace")
        super().__init__(f"the upstream answered HTTP {status}: {shown}" if shown else f"the upstream answered HTTP {status}", {"status": status}, status=status)
        self.fields, self.body = fields, body


class ConfigError(Exception):
    """A setting that cannot be meant: the message names it and the mend; nothing was started."""
