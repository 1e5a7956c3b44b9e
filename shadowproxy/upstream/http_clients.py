"""Which HTTP client an upstream needs: ours, or httpx for HTTP/2 and for proxies on the way.

In: the settings and the environment. Out: None for ours, else a function that makes one client per lease. httpx is imported only where it is needed.
"""
from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from shadowproxy.config import Config, Upstream
from shadowproxy.upstream.http1 import Client


@asynccontextmanager
async def open_clients(config: Config) -> AsyncIterator[Callable[[], Client] | None]:
    """The block in which the clients may be used."""
    proxy = config.upstream.proxy or proxy_from_environment(config.upstream)
    if not config.upstream.http2 and proxy is None:
        yield None
        return
    from shadowproxy.upstream.httpx_client import open_httpx

    async with open_httpx(config, proxy) as clients:
        yield clients


def proxy_from_environment(upstream: Upstream) -> str | None:
    """What HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say about this upstream's URL."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # with its own HTTP client, which nobody else needs

    parts = urlsplit(upstream.url or "")
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if found and not proxy_bypass(parts.hostname or "") else None
