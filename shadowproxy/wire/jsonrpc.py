"""JSON-RPC messages whose values stay byte for byte as they came.

In: the bytes of one message (or of a 2025-03-26 batch). Out: `Message`, or `BadMessage` that says what is wrong.

Only the envelope is decoded, and of `params` only the levels that somebody asks for; a level that was looked at is encoded anew from
what was seen, so that a duplicate key cannot say one thing to the proxy and another to the server. UTF-8 is checked here, because
msgspec leaves `Raw` values unchecked, and a nesting bomb ends as `BadMessage`, not as `RecursionError`.
"""
from __future__ import annotations

from typing import Any, Final, NoReturn, TypeAlias

import msgspec

Raw = msgspec.Raw
Members: TypeAlias = dict[str, Any]

decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_id: Final = msgspec.json.Decoder(int | str).decode
encode: Final = msgspec.json.Encoder().encode

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

#: An id longer than this is refused: it is repeated in every table and log line (no specification names a bound).
MAX_ID_BYTES: Final = 1024
#: A batch longer than this is refused: each of its messages costs a task, and ten megabytes hold a quarter of a million.
MAX_BATCH: Final = 1000
_EMPTY: Final[dict[str, Raw]] = {}


class BadMessage(Exception):
    """These bytes are not a JSON-RPC message. `code` is the JSON-RPC error to answer with."""

    def __init__(self, text: str, code: int = PARSE_ERROR) -> None:
        super().__init__(text)
        self.code = code


class Array:
    """What the messages of one batch share. `first` is a recorder's: what it calls the first of them."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        self.first = 0


class Message:
    """One message: its members in order, and its method (None for a response).

    `event_id` and `retry` are the SSE fields that it came with, so that resumption passes through unharmed; `array` is the batch that it came in.
    """

    __slots__ = ("array", "event_id", "members", "method", "retry")

    def __init__(self, members: Members, method: str | None) -> None:
        self.members = members
        self.method = method
        self.event_id: bytes | None = None
        self.retry: int | None = None
        self.array: Array | None = None

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read one message. Raises `BadMessage`."""
        try:
            if not data.isascii():
                data.decode()
            members: Members = decode_object(data)
            raw = members.get("method")
            method = None if raw is None else _decode_text(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _refuse(data, error)
        if bytes(members.get("jsonrpc", b"")) != b'"2.0"':
            raise BadMessage('not JSON-RPC 2.0: the member "jsonrpc" must be "2.0"', INVALID_REQUEST)
        if method is None and ("result" in members) == ("error" in members):
            raise BadMessage("neither a request nor a response: it needs one of method, result, error", INVALID_REQUEST)
        return cls(members, method)

    @classmethod
    def make(cls, **members: object) -> Message:
        """A message of the proxy's own; values are encoded as JSON."""
        method = members.get("method")
        return cls({"jsonrpc": "2.0", **members}, method if isinstance(method, str) else None)

    def encode(self) -> bytes:
        return encode(self.members)

    def encode_as(self, id: Raw) -> bytes:
        """The same message under another id; this one stays as it is."""
        return encode({**self.members, "id": id})

    def line(self) -> bytes:
        """The message as one line of a pipe."""
        return as_line(self.encode())

    @property
    def id(self) -> Raw | None:
        return self.members.get("id")

    @property
    def is_response(self) -> bool:
        return self.method is None

    @property
    def is_request(self) -> bool:
        return self.method is not None and "id" in self.members

    def params(self) -> dict[str, Any]:
        """The members of `params`, values raw; empty if there are none. Raises `BadMessage` unless it is an object."""
        return self.level(self.members, "params")

    def meta(self) -> dict[str, Any]:
        """The members of `params._meta`, values raw; empty if there are none."""
        return self.level(self.params(), "_meta")

    def result(self) -> dict[str, Any]:
        """The members of `result`, values raw; empty for an error."""
        return self.level(self.members, "result")

    @staticmethod
    def level(parent: dict[str, Any], name: str) -> dict[str, Any]:
        """The object at `name` in `parent`, one level decoded in place."""
        value = parent.get(name)
        if value is None:
            return _EMPTY
        if type(value) is not dict:
            try:
                value = parent[name] = decode_object(value if isinstance(value, Raw) else encode(value))
            except (msgspec.MsgspecError, RecursionError):
                raise BadMessage(f"{name} must be an object", INVALID_PARAMS) from None
        return value

    def mentions(self, word: bytes) -> bool:
        """Whether `params` may have a key `word`: False is certain (a backslash could spell it in escapes)."""
        params = self.members.get("params")
        if params is None:
            return False
        if type(params) is dict:
            return True
        data = bytes(params)
        return word in data or b"\\" in data

    def __repr__(self) -> str:
        shown = self.encode()
        return f"<Message {shown[:120]!r}{'…' if len(shown) > 120 else ''}>"


def _refuse(data: bytes, error: Exception) -> NoReturn:
    if isinstance(error, RecursionError):
        raise BadMessage("nested too deeply") from None
    if isinstance(error, UnicodeDecodeError):
        raise BadMessage(f"not UTF-8 at byte {error.start}") from None
    if isinstance(error, msgspec.ValidationError):
        raise BadMessage(f"not a JSON-RPC message: {error}", INVALID_REQUEST) from None
    raise BadMessage(f"not JSON: {error}") from None


def as_line(data: bytes) -> bytes:
    """JSON as one line, its end included: a newline that was white space between values becomes a blank (in strings there are none)."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return data + b"\n"


def is_batch(data: bytes) -> bool:
    """Whether these bytes are an array, which only 2025-03-26 allows."""
    return data.lstrip()[:1] == b"["


def decode_batch(data: bytes) -> list[Message]:
    """Read a 2025-03-26 batch (basic/index.mdx, "Batching"). Raises `BadMessage`, also for an empty one."""
    try:
        if not data.isascii():
            data.decode()
        parts = _decode_array(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(data, error)
    if not parts:
        raise BadMessage("an empty batch", INVALID_REQUEST)
    if len(parts) > MAX_BATCH:
        raise BadMessage(f"a batch of more than {MAX_BATCH} messages", INVALID_REQUEST)
    messages = [Message.decode(bytes(part)) for part in parts]
    array = Array()
    for message in messages:
        message.array = array
    return messages


def unpack(data: bytes) -> list[Message]:
    """A server's batch as single messages; responses last, because nothing is looked for behind an answer. Raises `BadMessage`."""
    return sorted(decode_batch(data), key=lambda message: message.is_response)


def key_of(id: Raw) -> bytes:
    """The id as a table key: equal ids give equal keys, and `1` is not `"1"`. Raises `BadMessage` unless integer or string."""
    data = bytes(id)
    if data.isdigit() and len(data) <= MAX_ID_BYTES:
        return data
    if len(data) > MAX_ID_BYTES:
        raise BadMessage(f"the id is longer than {MAX_ID_BYTES} bytes", INVALID_REQUEST)
    try:
        value = _decode_id(data)
    except (msgspec.MsgspecError, RecursionError):
        raise BadMessage("an id must be an integer or a string", INVALID_REQUEST) from None
    return data if b"\\" not in data and value != 0 else encode(value)  # -0 is 0


def _is_id(id: Raw) -> bool:
    try:
        key_of(id)
    except BadMessage:
        return False
    return True


def text_of(value: Any) -> str | None:
    """The string that this raw value is, or None if it is something else."""
    if isinstance(value, str):
        return value
    try:
        return _decode_text(value)
    except (msgspec.MsgspecError, TypeError):
        return None


def error_reply(id: Raw | None, code: int, text: str, data: object = None) -> Message:
    """An error response; with no id when the request's could not be read, or was none that a request may have."""
    error: dict[str, object] = {"code": code, "message": text}
    if data:
        error["data"] = data
    if id is not None and not _is_id(id):
        id = None
    return Message({"jsonrpc": "2.0", "id": id, "error": error}, None)


def error_code(reply: Message) -> int | None:
    """The code of an error response; None for a result or an unreadable error."""
    error = reply.members.get("error")
    if error is None:
        return None
    if type(error) is dict:
        code = error.get("code")
        return code if isinstance(code, int) else None
    try:
        return _decode_code(error).code
    except (msgspec.MsgspecError, RecursionError):
        return None


class _Code(msgspec.Struct):
    code: int


_decode_code: Final = msgspec.json.Decoder(_Code).decode
