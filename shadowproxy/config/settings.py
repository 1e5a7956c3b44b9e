"""The settings themselves: frozen values, validated when they are made.

In: keyword arguments. Out: one `Config`, or `ConfigError` (`WrongValue`) that names the setting and the mend. No I/O, no global state.
docs/cli.md describes each for users; a test holds that page to these classes.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from shadowproxy.config import rules, syntax
from shadowproxy.config.recording import Record
from shadowproxy.config.replaying import Replay

MIB = 1 << 20
REQUEST_MAX = 600.0


def _count(default: int, least: int = 1) -> Any:
    return attrs.field(default=default, validator=rules.whole(least))


def _seconds(default: float, *, zero: bool = False) -> Any:
    return attrs.field(default=default, validator=rules.seconds(zero=zero))


def _at_least_request(timeouts: Timeouts) -> float:
    return max(REQUEST_MAX, timeouts.request)


def _names(check: Callable[[str], str | None]) -> Any:
    return attrs.field(default=(), validator=rules.texts(check))


def _one_of(default: str, *others: str) -> Any:
    return attrs.field(default=default, validator=rules.one_of(default, *others))


_OF_A_LIVE_ONE = ("env", "cwd", "headers", "http2", "proxy", "pool", "share")


@attrs.frozen(kw_only=True)
class Upstream:
    """The one server behind the proxy: a `url`, a `command` that is started without a shell, or a `tape` that answers in a server's place."""

    url: str | None = attrs.field(default=None, validator=rules.text(syntax.url))
    command: tuple[str, ...] = _names(syntax.argument)
    # A recording; with url or command beside it, these are asked what is not on the tape (replay.on_miss).
    tape: str | None = attrs.field(default=None, validator=rules.text(syntax.file))
    # Added to the proxy's own environment.
    env: Mapping[str, str] = attrs.field(factory=dict, validator=rules.pairs(syntax.variable))
    cwd: str | None = attrs.field(default=None, validator=rules.text(syntax.directory))
    # Sent with every request to `url`.
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=[rules.pairs(syntax.header), rules.different_names])
    authorization: Literal["strip", "passthrough"] = _one_of("strip", "passthrough")  # the client's Authorization and Cookie
    http2: bool = attrs.field(default=False, validator=rules.switch)  # speak HTTP/2 to `url`
    # An HTTP proxy on the way to `url`; None: what *_PROXY in the environment says.
    proxy: str | None = attrs.field(default=None, validator=rules.text(syntax.proxy))
    # Most connections or children at once; None: 1000 connections, 100 children.
    pool: int | None = attrs.field(default=None, validator=rules.whole(1))
    warm: int = _count(1, least=0)  # children kept spawned ahead of the next legacy session
    # One child for many clients; None: modern era yes, legacy era no.
    share: bool | None = attrs.field(default=None, validator=rules.switch)

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (not self.command) and (self.command or self.tape is None):
            raise rules.WrongValue("", f"give one server, either url or command{', not both' if self.command else ' (or a tape)'}")
        if self.command and not self.command[0]:
            raise rules.WrongValue("command", "must begin with a program, not with an empty string")
        # A setting without effect is a mistake of whoever wrote it, and it may be one about security.
        kind = "url" if self.url is not None else "command" if self.command else "tape"
        for name in {"url": ("env", "cwd", "share"), "command": ("headers", "http2", "proxy")}.get(kind, _OF_A_LIVE_ONE):
            if getattr(self, name) not in (None, {}, False):
                raise rules.WrongValue(name, f"has no effect on a {kind}; leave it out")
        if self.url is None and self.authorization != "strip":
            raise rules.WrongValue("authorization", f"has no effect on a {kind}, which gets no headers; leave it out")

    @property
    def live(self) -> bool:
        """Whether there is a server, beside a tape or without one."""
        return self.url is not None or bool(self.command)


@attrs.frozen(kw_only=True)
class Limits:
    """What the proxy holds at most; past it a clear refusal, never memory without end."""

    connections: int = _count(1000)     # accepted sockets at once
    exchanges: int = _count(1000)       # requests in flight at once
    queue: int = _count(1000, least=0)  # requests waiting for one of these
    sessions: int = _count(1000)        # legacy sessions
    head: int = _count(32 * 1024)       # bytes of a request's head
    headers: int = _count(100)          # fields in a request's head
    body: int = _count(10 * MIB)        # bytes of a request's body
    message: int = _count(64 * MIB)     # bytes of one message from the upstream
    events: int = _count(100)           # messages waiting for one slow stream
    buffer: int = _count(MIB)           # bytes waiting for one slow stream, beyond a single message


@attrs.frozen(kw_only=True)
class Timeouts:
    """Seconds. Each is the caller's deadline for the thing it names."""

    connect: float = _seconds(10)
    request: float = _seconds(60)              # from request to response; progress pushes it forward …
    # … up to this; a longer `request` raises it, unless it is given.
    request_max: float = attrs.field(default=attrs.Factory(_at_least_request, takes_self=True), validator=rules.seconds(zero=False))
    head: float = _seconds(10)                 # from the first byte of a head to its end
    body: float = _seconds(30)                 # from the head to the end of the request's body
    idle: float = _seconds(75)                 # a keep-alive connection with nothing under way
    write: float = _seconds(30)                # a write to a peer that does not read
    session_idle: float = _seconds(300)        # a legacy session with nothing under way
    session_listening: float = _seconds(3600)  # the same while its client has a GET stream open
    keep_alive: float = _seconds(15)           # between two comments on a silent event stream
    queue: float = _seconds(10)                # waiting for admission or for a lease
    drain: float = _seconds(30, zero=True)     # exchanges in flight, once told to stop
    child_grace: float = _seconds(2, zero=True)  # each step of stopping a child: stdin closed, SIGTERM, SIGKILL

    def __attrs_post_init__(self) -> None:
        if self.request_max < self.request:
            raise rules.WrongValue("request_max", f"must be request ({self.request:g}) at least, not {self.request_max:g}")


@attrs.frozen(kw_only=True)
class Tls:
    """Certificates for the TCP listeners, as PEM files; renewed ones are taken up without a restart."""

    cert: str = attrs.field(validator=rules.text(syntax.file))
    key: str = attrs.field(validator=rules.text(syntax.file))
    client_ca: str | None = attrs.field(default=None, validator=rules.text(syntax.file))  # clients must show a certificate of this authority


@attrs.frozen(kw_only=True)
class Log:
    """What the command line writes to standard error. A host program that embeds the proxy configures logging itself."""

    level: Literal["debug", "info", "warning", "error"] = attrs.field(default="info", validator=rules.one_of("debug", "info", "warning", "error"))
    format: Literal["text", "json"] = _one_of("text", "json")


@attrs.frozen(kw_only=True)
class Config:
    """One proxy: where it listens and what stands behind it."""

    upstream: Upstream
    stdio: bool = attrs.field(default=False, validator=rules.switch)  # speak MCP on our own standard input and output
    listen: tuple[str, ...] = _names(syntax.listen_address)  # HOST:PORT, [V6]:PORT, unix:/path; port 0 takes a free one
    path: str = attrs.field(default="/mcp", validator=rules.text(syntax.path))
    sse_path: str = attrs.field(default="/sse", validator=rules.text(syntax.sse_path))  # for clients of 2024-11-05; "" for none
    allowed_hosts: tuple[str, ...] = _names(syntax.host)      # Host names beside those listened on; "*" for any
    allowed_origins: tuple[str, ...] = _names(syntax.origin)  # Origins of web pages beside the loopback ones; "*" for any
    tls: Tls | None = None
    record: Record | None = None
    replay: Replay = attrs.field(factory=Replay)  # of `upstream.tape`
    http_engine: Literal["native", "hypercorn"] = _one_of("native", "hypercorn")  # for HTTP/1.1; HTTP/2 is always Hypercorn's
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    log: Log = Log()

    def __attrs_post_init__(self) -> None:
        tape, live, replay = self.upstream.tape, self.upstream.live, self.replay
        if tape is None and replay != Replay():
            raise rules.WrongValue("replay", "has no effect without a tape; name one (upstream.tape), or leave it out")
        if tape is not None and live != replay.needs_live:
            what = f"{replay.on_miss!r} needs a live server beside the tape: give its url or command" if replay.needs_live else \
                   f"must be 'forward' or 'record' where a live server stands beside the tape, not {replay.on_miss!r}; or leave the server out"
            raise rules.WrongValue("replay.on_miss", what)
