"""Which HTTP fields cross the proxy, and which are made here.

In: the client's fields and the settings. Out: the head of the upstream's request; the fields of its answer that the client gets. Pure.
Hop-by-hop fields stop here (RFC 9110, 7.6.1); the client's credentials are not sent to another origin unless told so
(2026-07-28, basic/authorization: no token passthrough); what says who the client is, it may not say itself.
"""
from __future__ import annotations

from collections.abc import Mapping

from shadowproxy.errors import UpstreamBroken
from shadowproxy.exchange import Headers

_HOP = frozenset({b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
                  b"transfer-encoding", b"upgrade"})  # fmt: skip
#: Made anew for the upstream, or meant for us alone: the Origin was judged here, and compressed answers could not be read.
_OURS = frozenset({b"host", b"content-length", b"expect", b"origin", b"accept-encoding", b"mcp-session-id", b"http2-settings"})
_CLAIMS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-real-ip"})
_CREDENTIALS = frozenset({b"authorization", b"cookie"})
#: Of an answer: what we frame ourselves.
_FRAMING = frozenset({b"content-length", b"content-type", b"mcp-session-id", b"date", b"cache-control", b"x-accel-buffering"})


class Fields:
    """`added` are the configured headers; they win over the client's. `passthrough`: credentials cross too."""

    def __init__(self, host: str, target: str, added: Mapping[str, str], passthrough: bool) -> None:
        own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added.items()]
        stopped = _HOP | _OURS | _CLAIMS | {name for name, _ in own}
        self._stopped = stopped if passthrough else stopped | _CREDENTIALS
        self._kept_back = _HOP | _FRAMING | (frozenset() if passthrough else {b"set-cookie"})
        fixed = b"".join(b"%b: %b\r\n" % field for field in own)
        self.target = target
        self._tail = b" %b HTTP/1.1\r\nhost: %b\r\n%b" % (target.encode("ascii"), host.encode("ascii"), fixed)

    def head(self, method: bytes, fields: Headers, session: bytes | None, length: int | None) -> bytes:
        """A whole head, its empty line included."""
        stopped = self._stopped
        out = [method, self._tail]
        for name, value in fields:
            if name not in stopped:
                out.append(b"%b: %b\r\n" % (name, value))
            elif name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
                return self.head(method, _unnamed(fields), session, length)
        if session is not None:
            out.append(b"mcp-session-id: %b\r\n" % session)
        out.append(b"content-length: %d\r\n\r\n" % length if length is not None else b"\r\n")
        return b"".join(out)

    def crossing(self, fields: Headers, session: bytes | None) -> list[tuple[bytes, bytes]]:
        """The same fields as a list, for a client that makes heads itself."""
        head = self.head(b"X", fields, session, None)
        lines = head.split(b"\r\n")[2:-2]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def back(self, fields: Headers) -> Headers:
        """Fields of the upstream's answer that the client gets. Raises `UpstreamBroken` for an encoding that nobody asked for."""
        kept = [field for field in _unnamed(fields) if field[0] not in self._kept_back]
        for name, value in kept:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise UpstreamBroken(f"the upstream compressed its answer ({value.decode('latin-1')}) although it was asked not to")
        return kept

    def passed(self, fields: Headers) -> Headers:
        """The same for an answer that is passed on as it came, content type included."""
        return [field for field in _unnamed(fields) if field[0] == b"content-type" or field[0] not in self._kept_back]


def _unnamed(fields: Headers) -> Headers:
    """The fields without those that a `Connection` field names, and without that."""
    named = {token.strip().lower() for name, value in fields if name == b"connection" for token in value.split(b",")}
    return [field for field in fields if field[0] not in named and field[0] != b"connection"] if named else fields
