"""Asking a server which era it is of: `server/discover` first, as the specification says.

In: a fresh link. Out: whether the server is of the modern era; any other answer than a discovery or a recognized modern error says legacy.
Source: 2026-07-28, basic/transports/stdio.mdx, "Backward Compatibility". The deadline is the caller's.
"""
from __future__ import annotations

import msgspec

from shadowproxy.upstream.peer import Peer
from shadowproxy.wire.eras import LEGACY_VERSIONS, META_CAPABILITIES, META_CLIENT, META_VERSION, MODERN_VERSIONS
from shadowproxy.wire.jsonrpc import BadMessage, Message, encode

_MODERN_ERRORS = frozenset({-32020, -32021})
_UNSUPPORTED_VERSION = -32022
_META = {META_VERSION: MODERN_VERSIONS[-1], META_CAPABILITIES: {}, META_CLIENT: {"name": "shadowproxy", "version": "0"}}
_DISCOVER = encode({"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": _META}})


async def is_modern(link: Peer) -> bool:
    """Ask once. A legacy server must be thrown away afterwards: it has been spoken to in the wrong era."""
    return _judge(await link.ask(Message.decode(_DISCOVER)))


def _judge(reply: Message) -> bool:
    try:
        if "error" in reply.members:
            return _judge_error(reply)
        return _names_modern(reply.result().get("supportedVersions", b"[]"))
    except (BadMessage, msgspec.MsgspecError, RecursionError):
        return False


class _Data(msgspec.Struct):
    supported: list[str] = []


class _Error(msgspec.Struct):
    code: int
    data: _Data | None = None


def _judge_error(reply: Message) -> bool:
    try:
        error = msgspec.json.decode(reply.members["error"], type=_Error)
    except msgspec.ValidationError:
        return False
    if error.code == _UNSUPPORTED_VERSION:
        return error.data is not None and any(version not in LEGACY_VERSIONS for version in error.data.supported)
    return error.code in _MODERN_ERRORS


def _names_modern(raw: bytes | msgspec.Raw) -> bool:
    return any(version in MODERN_VERSIONS for version in msgspec.json.decode(raw, type=list[str]))

