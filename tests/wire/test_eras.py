"""Which era a message belongs to."""
from __future__ import annotations

import msgspec
import pytest

from shadowproxy.wire import eras
from shadowproxy.wire.eras import era_of, is_legacy, is_legacy_header

KEY = b'"io.modelcontextprotocol/protocolVersion"'
DEEP = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"


def params(meta: bytes) -> dict[str, msgspec.Raw]:
    return {"name": msgspec.Raw(b'"x"'), "_meta": msgspec.Raw(meta)}


@pytest.mark.parametrize(("version", "legacy"), [
    ("2024-11-05", True), ("2025-03-26", True), ("2025-06-18", True), ("2025-11-25", True), ("2026-07-28", False), ("1900-01-01", False), ("", False),
])
def test_versions(version: str, legacy: bool) -> None:
    assert is_legacy(version) is legacy
    assert is_legacy_header(version.encode()) is legacy
    assert era_of(None, version.encode()) == ("legacy" if legacy else "modern")


def test_no_header_and_no_meta_is_legacy() -> None:
    assert is_legacy_header(None)
    assert era_of(None, None) == era_of({}, None) == era_of({"name": msgspec.Raw(b'"x"')}, None) == "legacy"
    assert era_of(None, b" 2025-11-25\t") == "legacy"


@pytest.mark.parametrize("header", [None, b"2025-11-25", b"2026-07-28"])
@pytest.mark.parametrize("meta", [
    b'{%b:"2026-07-28"}' % KEY,
    b'{"progressToken":1, %b : "2025-11-25"}' % KEY,        # a legacy version said in the modern way: answered with -32022
    b"{%b:null}" % KEY,                                     # wrong, and for the modern era to say so
    rb'{"io.modelcontextprotocol\/protocolVersion":"2026-07-28"}',
    rb'{"\u0069o.modelcontextprotocol/protocolVersion":"2026-07-28"}',
    b'{%b:"\xff"' % KEY + b"}",
    DEEP,
])
def test_meta_that_names_a_version_is_modern_whatever_the_header(meta: bytes, header: bytes | None) -> None:
    assert era_of(params(meta), header) == "modern"


@pytest.mark.parametrize("meta", [
    b"{}", b"null", b"[]", b'"io.modelcontextprotocol/protocolVersion"', b'{"progressToken":"io.modelcontextprotocol/protocolVersion"}',
    b'{"nested":{%b:"2026-07-28"}}' % KEY, b'{"io.modelcontextprotocol/protocolversion":"2026-07-28"}',
])
def test_meta_that_names_none_leaves_it_to_the_header(meta: bytes) -> None:
    assert era_of(params(meta), None) == "legacy"
    assert era_of(params(meta), b"2025-11-25") == "legacy"
    assert era_of(params(meta), b"2026-07-28") == "modern"


def test_decoded_meta_counts_as_well() -> None:
    assert era_of({"_meta": {eras.META_VERSION: msgspec.Raw(b'"2026-07-28"')}}, None) == "modern"
    assert era_of({"_meta": {"progressToken": 1}}, None) == "legacy"
    assert era_of({"_meta": None}, None) == era_of({"_meta": 3}, None) == "legacy"


def test_tables_agree() -> None:
    assert eras.ALL == (*eras.LEGACY_VERSIONS, *eras.MODERN_VERSIONS) == tuple(sorted(eras.ALL))
    assert eras.BATCHING in eras.LEGACY_VERSIONS
    assert not eras.REMOVED & {"tasks/get", "tasks/cancel", "tools/call", "completion/complete"}
    assert not any(method.startswith("notifications/") for method in eras.REMOVED)
    assert all(method.startswith("notifications/") for method in eras.REMOVED_NOTIFICATIONS)
