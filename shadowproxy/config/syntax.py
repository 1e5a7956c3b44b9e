"""What the texts among the settings may be.

In: a text, as somebody wrote it. Out: None when it is good, else what it must be, in words that show a good one. Pure.
"""
from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_USER = re.compile(r"//[^/?#@]*@")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
#: Made for each request by the proxy, or the hop's own: two of a kind would let two servers read two different requests.
_RESERVED = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade",
                       "expect", "accept-encoding", "proxy-connection", "mcp-session-id"})  # fmt: skip


def listen_address(text: str) -> str | None:
    """HOST:PORT, [V6]:PORT or unix:/path."""
    if text.startswith("unix:"):
        return None if text.startswith("unix:/") and "\0" not in text else "must name a unix socket by its whole path, such as unix:/run/shadowproxy.sock"
    host, separator, port = text.rpartition(":")
    if "://" in text:
        return "must be HOST:PORT without a scheme, such as 127.0.0.1:8080"
    if not separator or not host:
        return "must be HOST:PORT, such as 127.0.0.1:8080 (or 0.0.0.0:8080 for every interface)"
    if host.startswith("[") and host.endswith("]"):
        if not _is_v6(host[1:-1]):
            return "must have an IPv6 address in its brackets, such as [::1]:8080"
    elif ":" in host:
        return "must have its IPv6 address in brackets, such as [::1]:8080"
    elif not _NAME.fullmatch(host):
        return "must begin with a host name or address, such as 127.0.0.1:8080"
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        return "must end in a port from 0 to 65535, such as 127.0.0.1:8080"
    return None


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def url(text: str) -> str | None:
    """Where an upstream is. What it sends is written into request heads as it stands, so nothing in it may end a line."""
    if text.startswith("unix:"):
        return None if text.startswith("unix:/") and "\0" not in text else "must name a unix socket by its whole path, such as unix:/run/server.sock"
    if not _VISIBLE.fullmatch(text):
        return "must be a URL without spaces and without characters beyond ASCII (percent-encode them)"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "must be a URL such as http://127.0.0.1:3000/mcp; the address in it cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be an http or https URL with a host, such as http://127.0.0.1:3000/mcp"
    if "@" in parts.netloc:
        return "must be a URL without user and password; send them as a header"
    return "must be a URL without a fragment (#…)" if "#" in text else None


def proxy(text: str) -> str | None:
    """An HTTP proxy on the way, which may ask for user and password."""
    return "must be an http or https URL, such as http://proxy:3128" if text.startswith("unix:") else url(_USER.sub("//", text, count=1))


def path(text: str) -> str | None:
    """Where the endpoint answers."""
    good = text.startswith("/") and _VISIBLE.fullmatch(text) and not set("?#") & set(text)
    return None if good else "must be a path that starts with /, such as /mcp"


def sse_path(text: str) -> str | None:
    """Where clients of 2024-11-05 begin; empty for nowhere."""
    return None if not text else path(text)


def file(text: str) -> str | None:
    """A file; whether it can be read is seen when it is."""
    return None if text and "\0" not in text else "must be the path of a file"


def host(text: str) -> str | None:
    """A name that a Host header may have."""
    good = text == "*" or _NAME.fullmatch(text) or _is_v6(text.removeprefix("[").removesuffix("]"))
    return None if good else "must be a host name without scheme and port, such as mcp.example.com, or *"


def origin(text: str) -> str | None:
    """What an Origin header may be."""
    scheme, separator, rest = text.partition("://")
    good = text == "*" or (scheme and separator and rest and _VISIBLE.fullmatch(text) and not set("/?#@") & set(rest))
    return None if good else "must be SCHEME://HOST or SCHEME://HOST:PORT, such as https://app.example.com, or *"


def argument(text: str) -> str | None:
    """A part of a command."""
    return "must be without NUL characters" if "\0" in text else None


def directory(text: str) -> str | None:
    """Where a command is run; whether it exists is seen when the command starts."""
    return None if text and "\0" not in text else "must be a directory"


def variable(name: str, value: str) -> str | None:
    """An environment variable of a command."""
    if not name or "=" in name or "\0" in name:
        return "is no name of an environment variable"
    return "has a value with a NUL character" if "\0" in value else None


def header(name: str, value: str) -> str | None:
    """A header that is sent with every request."""
    if not _TOKEN.fullmatch(name):
        return "is no name of a header: letters, digits and - make one"
    if name.lower() in _RESERVED:
        return "is a header that the proxy itself writes; leave it out"
    if _CONTROL.search(value):
        return "has a value with a line break or another control character"
    return None if all(ord(character) < 256 for character in value) else "has a value that no header can hold (ISO 8859-1)"


def word(text: str) -> str | None:
    return None if text.strip() else "must not be empty"


def pointer(text: str) -> str | None:
    """A JSON pointer (RFC 6901), in which `*` stands for any member or element."""
    return None if text.startswith("/") else "must be a JSON pointer, such as /params/arguments/password"


def pattern(text: str) -> str | None:
    """A regular expression that finds something."""
    try:
        return "must not match the empty string" if re.compile(text).search("") else None
    except re.error as error:
        return f"must be a regular expression ({error})"


_METHOD = re.compile(r"[A-Za-z0-9_$./-]+")
_PACE = re.compile(r"none|recorded|(scale|cap):(\d+(\.\d*)?|\.\d+)")


def ignored(text: str) -> str | None:
    """A JSON pointer into requests, for all methods or for one: METHOD:/pointer."""
    method, _, rest = text.partition(":/")
    return None if text.startswith("/") or (rest and _METHOD.fullmatch(method)) else "must be a JSON pointer, such as /params/arguments/now or tools/call:/params/arguments/now"


def timing(text: str) -> str | None:
    """How fast a tape is replayed."""
    return None if _PACE.fullmatch(text) else "must be none, recorded, scale:FACTOR such as scale:0.5, or cap:SECONDS such as cap:2"
