"""What a tape is made of: a header line, then one frame a line, as JSON that `jq` reads. Pure code.

In: lines. Out: `Header`, `Frame`; and the way back. docs/tapes.md describes every member for users; a test holds it to these classes.
A message is kept byte for byte, but that a line end between its values becomes a blank. What is absent is not written.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from shadowproxy.wire.jsonrpc import Raw

VERSION: Final = 1
"""Of the format. `convert.py` brings older ones up to it."""

if TYPE_CHECKING:
    MaybeRaw: TypeAlias = Raw | None
else:
    MaybeRaw = Raw  # msgspec decodes no union with Raw; the default it does not check

Direction = Literal["c2s", "s2c"]
Leg = Literal["both", "client", "server"]
Kind = Literal["request", "notification", "response", "event", "open", "close", "refusal", "cancelled", "left", "end", "about", "gap"]
"""request, notification, response: a JSON-RPC message. event: an SSE event without a message. open: a client asks for a GET stream.
close: a stream ended without a response. refusal: an HTTP answer, or an error of the proxy's own, in place of a response. cancelled: the client
gave up. left: it dropped a stream of an exchange that goes on. end: the session is over. about: what was learned of the server. gap: frames are missing here."""


class Http(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The HTTP envelope: of a request its method and fields, of an answer its status and fields. Names are lower case."""

    method: str | None = None
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Sse(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The fields of the event that a message came in, or of one without a message; `data` only of the latter. A comment stands alone."""

    id: str | None = None
    event: str | None = None
    retry: int | None = None
    data: str | None = None
    comment: str | None = None


class Frame(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing that happened.

    `n` counts from 1 and leaves holes where frames were lost. `t`: seconds since the tape's origin, by a clock that never jumps; `wall`: Unix time.
    `leg` is "both" unless something between the legs may rewrite. `exchange` numbers a request with all that belongs to it; `stream` is the
    event stream a message travelled on: "x3" (the answer to exchange 3) or "g4" (a GET stream, opened by exchange 4); none for a JSON body.
    `re` is the `n` of the request that a response answers, `batch` that of the first message of the array in which this one came. `id` and `token` (progress) are JSON, as they were spelled.
    """

    n: int
    t: float
    dir: Direction
    kind: Kind
    wall: float = 0.0
    leg: Leg = "both"
    session: str | None = None
    exchange: int | None = None
    stream: str | None = None
    method: str | None = None
    id: MaybeRaw = None
    re: int | None = None
    batch: int | None = None
    token: MaybeRaw = None
    message: MaybeRaw = None
    http: Http | None = None
    sse: Sse | None = None
    error: str | None = None  # the stable name of an error of the proxy's, or why a stream closed
    text: str | None = None  # the body of a refusal that is no JSON-RPC message; what a gap is about
    lost: int | None = None  # of a gap: how many frames
    redacted: tuple[str, ...] = ()  # the rules that replaced something in this frame

    @property
    def is_error(self) -> bool:
        """Whether it is a response that says so, or something in place of one."""
        return self.kind == "refusal" or (self.kind == "response" and "error" in self.members())

    def members(self) -> dict[str, Any]:
        """The message's members, values raw; empty without a message."""
        return {} if self.message is None else _decode_members(self.message)

    def value(self) -> Any:
        """The message decoded whole; None without one."""
        return None if self.message is None else msgspec.json.decode(self.message)


class Header(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The first line. `origin` is the Unix time of t = 0; `upstream` what stood behind the proxy; `redaction` the policy's name ("none": nothing was
    replaced) and `key` the fingerprint of the key of its tokens: equal fingerprints, comparable tokens. What of the server was learned
    only later stands in an `about` frame (`era`, and `server`: serverInfo as it came)."""

    tape: int = VERSION
    tool: str
    python: str = ""
    origin: float
    upstream: str = ""
    era: Literal["legacy", "modern"] | None = None
    session: str | None = None
    server: MaybeRaw = None
    redaction: str = "none"
    key: str | None = None


class Unreadable(ValueError):
    """This line is not what its place demands."""


_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_frame: Final = msgspec.json.Decoder(Frame).decode
_decode_header: Final = msgspec.json.Decoder(Header).decode
_encoder: Final = msgspec.json.Encoder()


def encode_header(header: Header) -> bytes:
    """One line; it begins with the version, which defaults would leave out."""
    members = {"tape": header.tape, **msgspec.to_builtins(header, builtin_types=(Raw,))}
    return msgspec.json.encode(members) + b"\n"


def encode_frames(frames: Iterable[Frame]) -> bytes:
    """Lines."""
    return _encoder.encode_lines(list(frames))


def decode_frame(line: bytes) -> Frame:
    """Raises `Unreadable`."""
    try:
        line.decode()
        return _decode_frame(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a frame: {error}") from None


def decode_header(line: bytes) -> Header:
    """Of the current version. Raises `Unreadable`."""
    try:
        line.decode()
        header = _decode_header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not the header of a tape: {error}") from None
    if header.tape != VERSION:
        raise Unreadable(f"a tape of version {header.tape}; this shadowproxy reads up to {VERSION}")
    return header
