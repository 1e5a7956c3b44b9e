"""The two eras of MCP, and which one a message belongs to.

In: `params` of a message, one level decoded, and its `MCP-Protocol-Version` header. Out: "legacy" or "modern".

*Legacy* (2024-11-05 … 2025-11-25) begins with `initialize` and has sessions; *modern* (2026-07-28 and later) says the version in the
`_meta` of every request (2026-07-28, basic/versioning.mdx, "Terminology").
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

Era: TypeAlias = Literal["legacy", "modern"]

LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS: Final = ("2026-07-28",)
#: Every released revision, oldest first.
ALL: Final = LEGACY_VERSIONS + MODERN_VERSIONS
#: The one revision with JSON-RPC batches (2025-03-26, basic/index.mdx, "Batching"; gone in 2025-06-18).
BATCHING: Final = "2025-03-26"

# Keys of `_meta` that the specification reserves (2026-07-28, basic/index.mdx, "_meta").
META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT: Final = "io.modelcontextprotocol/clientInfo"
META_SERVER: Final = "io.modelcontextprotocol/serverInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
META_PROGRESS: Final = "progressToken"
META_TRACE: Final = ("traceparent", "tracestate", "baggage")

#: Requests of the legacy era that the modern one no longer has: with modern `_meta`, "method not found" (404 on HTTP).
#: `tasks/get` and `tasks/cancel` are not among them: the tasks extension has them again (2026-07-28, changelog.mdx, "Major changes").
REMOVED: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list", "tasks/result"}
)
#: Notifications that went with them; nobody is owed an answer to these, and a modern server is not to see them.
REMOVED_NOTIFICATIONS: Final = frozenset(
    {"notifications/initialized", "notifications/roots/list_changed", "notifications/elicitation/complete"}
)

# Error codes that the modern era added (2026-07-28, basic/index.mdx, "Error Codes").
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

_LEGACY: Final = frozenset(LEGACY_VERSIONS)
_LEGACY_HEADERS: Final = frozenset(version.encode() for version in LEGACY_VERSIONS)


class _Claim(msgspec.Struct, gc=False):
    version: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=META_VERSION)


_decode_claim: Final = msgspec.json.Decoder(_Claim).decode


def is_legacy(version: str) -> bool:
    """Whether `version` is a released revision of the legacy era. Unknown ones are not: they get the modern era's answer."""
    return version in _LEGACY


def is_legacy_header(header: bytes | None) -> bool:
    """Whether an `MCP-Protocol-Version` field, as it came, leaves a message in the legacy era: absent, or a revision of it."""
    return header is None or header in _LEGACY_HEADERS or header.strip(b" \t") in _LEGACY_HEADERS


def era_of(params: Mapping[str, object] | None, header: bytes | None) -> Era:
    """The era in which a message is to be answered.

    Modern if `params._meta` names a protocol version, whichever, or if `header` is there and no legacy revision; everything else is
    legacy, bare `initialize` included (2026-07-28, basic/versioning.mdx, "Compatibility Matrix"). `_meta` may be raw or decoded.
    A modern message can still be wrong: `mcp_http.verdict` says so.
    """
    if not is_legacy_header(header):
        return "modern"
    meta = params.get("_meta") if params else None
    return "legacy" if meta is None or not _names_version(meta) else "modern"


def _names_version(meta: object) -> bool:
    if not isinstance(meta, msgspec.Raw):
        return isinstance(meta, Mapping) and META_VERSION in meta
    try:
        return _decode_claim(meta).version is not msgspec.UNSET
    except msgspec.ValidationError:
        return False  # not an object: it names nothing
    except (ValueError, RecursionError):
        return True  # unreadable: the modern era refuses it, so nothing slips through unread
