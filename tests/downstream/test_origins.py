"""Who may talk to us: the Host and the Origin of a request, as a table."""
from __future__ import annotations

import pytest

from shadowproxy.downstream.origins import Origins

LOOPBACK = Origins(["127.0.0.1"], [], [])
WILDCARD = Origins(["0.0.0.0"], [], [])
NAMED = Origins(["127.0.0.1"], ["mcp.example.org", "[2001:db8::1]", "UPPER.example"], ["https://app.example", "http://tool.example:8080/"])
ANY = Origins(["127.0.0.1"], ["*"], ["*"])


@pytest.mark.parametrize(("rules", "host", "welcome"), [
    # loopback is always welcome, at any port
    (LOOPBACK, b"localhost", True),
    (LOOPBACK, b"localhost:3000", True),
    (LOOPBACK, b"LocalHost:3000", True),
    (LOOPBACK, b"127.0.0.1:3000", True),
    (LOOPBACK, b"[::1]", True),
    (LOOPBACK, b"[::1]:3000", True),
    # what a rebound name looks like
    (LOOPBACK, b"evil.example", False),
    (LOOPBACK, b"evil.example:3000", False),
    (LOOPBACK, b"localhost.evil.example", False),
    (LOOPBACK, b"127.0.0.1.evil.example", False),
    (LOOPBACK, b"localhost@evil.example", False),
    (LOOPBACK, b"evil.example@localhost", False),
    (LOOPBACK, b"evil.example/localhost", False),
    (LOOPBACK, b"localhost/", False),
    (LOOPBACK, b"localhost?x", False),
    (LOOPBACK, b"localhost#x", False),
    (LOOPBACK, b"", False),
    (LOOPBACK, b":3000", False),
    (LOOPBACK, b"localhost:port", False),
    (LOOPBACK, b"localhost:99999", False),
    (LOOPBACK, b"[::1", False),
    (LOOPBACK, b"\xff", False),
    (LOOPBACK, b"192.168.0.7", False),
    (LOOPBACK, b"*", False),
    # listening everywhere: any address is ours, and no name
    (WILDCARD, b"192.168.0.7:80", True),
    (WILDCARD, b"[fe80::1]", True),
    (WILDCARD, b"evil.example", False),
    (Origins(["::"], [], []), b"192.168.0.7", True),
    (Origins([""], [], []), b"192.168.0.7", True),
    (Origins(["192.168.0.7"], [], []), b"192.168.0.7", True),
    (Origins(["192.168.0.7"], [], []), b"192.168.0.8", False),
    (Origins(["box.example"], [], []), b"box.example:8080", True),
    # named in the settings
    (NAMED, b"mcp.example.org", True),
    (NAMED, b"MCP.example.org:443", True),
    (NAMED, b"[2001:db8::1]:443", True),
    (NAMED, b"upper.example", True),
    (NAMED, b"sub.mcp.example.org", False),
    (NAMED, b"app.example", False),
    (ANY, b"anything.example", True),
    (ANY, b"localhost", True),
])  # fmt: skip
def test_host(rules: Origins, host: bytes, welcome: bool) -> None:
    assert rules.host(host) is welcome
    assert rules.host(host) is welcome  # as remembered


@pytest.mark.parametrize(("rules", "origin", "welcome"), [
    (LOOPBACK, b"http://localhost", True),
    (LOOPBACK, b"http://localhost:3000", True),
    (LOOPBACK, b"https://127.0.0.1", True),
    (LOOPBACK, b"http://[::1]:3000", True),
    (LOOPBACK, b"HTTP://LOCALHOST", True),
    (LOOPBACK, b"http://evil.example", False),
    (LOOPBACK, b"http://localhost.evil.example", False),
    (LOOPBACK, b"http://localhost@evil.example", False),
    (LOOPBACK, b"http://evil.example@localhost", False),
    (LOOPBACK, b"http://localhost/path", False),
    (LOOPBACK, b"localhost", False),
    (LOOPBACK, b"null", False),
    (LOOPBACK, b"file://localhost", False),
    (LOOPBACK, b"chrome-extension://localhost", False),
    (LOOPBACK, b"", False),
    (LOOPBACK, b"://", False),
    (LOOPBACK, b"http://", False),
    (LOOPBACK, b"http://localhost:port", False),
    (LOOPBACK, b"http://[::1", False),
    (LOOPBACK, b"http://192.168.0.7", False),
    (WILDCARD, b"http://192.168.0.7", False),  # an address is safe as a Host, not as the Origin of somebody's page
    (WILDCARD, b"http://localhost", True),
    (NAMED, b"https://app.example", True),
    (NAMED, b"https://App.example/", True),
    (NAMED, b"http://app.example", False),
    (NAMED, b"https://app.example:8443", False),
    (NAMED, b"http://tool.example:8080", True),
    (NAMED, b"http://tool.example", False),
    (NAMED, b"https://mcp.example.org", True),
    (ANY, b"null", True),
    (ANY, b"https://anything.example", True),
])  # fmt: skip
def test_origin(rules: Origins, origin: bytes, welcome: bool) -> None:
    assert rules.origin(origin) is welcome
    assert rules.origin(origin) is welcome


def test_verdicts_on_hosts_and_on_origins_are_remembered_apart() -> None:
    rules = Origins([], [], ["localhost"])
    assert rules.origin(b"localhost")
    assert rules.host(b"localhost")
    other = Origins([], [], ["evil.example"])
    assert other.origin(b"evil.example")
    assert not other.host(b"evil.example")


def test_a_client_that_makes_up_names_does_not_fill_the_memory() -> None:
    rules = Origins([], [], [])
    for number in range(2000):
        assert not rules.host(b"%d.evil.example" % number)
    assert rules.host(b"localhost")
    assert not rules.host(b"1999.evil.example")
    assert len(rules._known) <= 256
