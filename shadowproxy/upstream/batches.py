"""Batches of a server: arrays of messages, which revision 2025-03-26 has, and it alone (basic/index.mdx, "Batching": receivers MUST accept them).

In: an array where a message was expected. Out: its messages, or the `BadMessage` that it was. Pure. None is ever sent: every message leaves alone.
"""
from __future__ import annotations

from shadowproxy.exchange import Exchange
from shadowproxy.wire.eras import BATCHING
from shadowproxy.wire.jsonrpc import BadMessage, Message, is_batch, unpack


def may_batch(version: str | None) -> bool:
    """Whether a legacy server may send arrays: by the revision agreed on, or while it is not known to be another (2025-06-18,
    basic/transports.mdx, "Protocol Version Header", takes who names none for one of 2025-03-26)."""
    return version is None or version == BATCHING


def messages_of(data: bytes, exchange: Exchange, error: BadMessage) -> list[Message]:
    """The messages in `data`, which came for `exchange` and is no single one, as `error` says. Responses come last. Raises `BadMessage`."""
    if exchange.era != "legacy" or not is_batch(data) or not may_batch(_version(exchange)):
        raise error
    return unpack(data)


def _version(exchange: Exchange) -> str | None:
    session, headers = exchange.session, exchange.headers or ()
    if session is not None and session.version is not None:
        return session.version
    return next((value.decode("latin-1") for name, value in headers if name == b"mcp-protocol-version"), None)
