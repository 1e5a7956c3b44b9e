"""Which client an upstream needs is said by its settings and by the environment."""
from __future__ import annotations

import pytest

from shadowproxy.config import Config, Upstream
from shadowproxy.upstream.http_clients import open_clients, proxy_from_environment
from shadowproxy.upstream.httpx_client import HttpxClient

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(("environment", "url", "proxy"), [
    ({}, "http://server/mcp", None),
    ({"HTTP_PROXY": "http://proxy:1"}, "http://server/mcp", "http://proxy:1"),
    ({"HTTP_PROXY": "http://proxy:1"}, "https://server/mcp", None),
    ({"HTTPS_PROXY": "http://proxy:1"}, "https://server/mcp", "http://proxy:1"),
    ({"ALL_PROXY": "http://proxy:1"}, "https://server/mcp", "http://proxy:1"),
    ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "server"}, "http://server/mcp", None),
    ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "other"}, "http://server/mcp", "http://proxy:1"),
    ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "http://server/mcp", None),
    ({"HTTP_PROXY": "http://proxy:1"}, "unix:/run/server.sock", None),
])  # fmt: skip
def test_the_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_from_environment(Upstream(url=url)) == proxy


async def test_ours_unless_something_else_is_needed() -> None:
    async with open_clients(Config(upstream=Upstream(url="http://server/mcp"))) as clients:
        assert clients is None


@pytest.mark.parametrize("upstream", [Upstream(url="https://server/mcp", http2=True), Upstream(url="http://server/mcp", proxy="http://proxy:1")])
async def test_httpx_for_the_rest(upstream: Upstream) -> None:
    async with open_clients(Config(upstream=upstream)) as clients:
        assert clients is not None
        assert isinstance(clients(), HttpxClient)
