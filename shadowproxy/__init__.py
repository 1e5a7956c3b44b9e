"""shadowproxy: a proxy for the Model Context Protocol, and structured concurrency all the way down.

    async with shadowproxy.open_proxy(config) as proxy: ...        # addresses, drain(), statistics()
    proxy = await nursery.start(shadowproxy.serve, config)
    app = shadowproxy.asgi(config)                                 # an ASGI application
"""
from __future__ import annotations

from shadowproxy.application import asgi
from shadowproxy.config import Config, Limits, Timeouts, Upstream
from shadowproxy.downstream.listen import CannotListen
from shadowproxy.errors import ConfigError, ProxyError
from shadowproxy.exchange import Exchange, Interceptor
from shadowproxy.server import Proxy, open_proxy, serve
from shadowproxy.wire.jsonrpc import Message

__version__ = "0.1.0"

__all__ = [
    "CannotListen", "Config", "ConfigError", "Exchange", "Interceptor", "Limits", "Message", "Proxy", "ProxyError", "Timeouts", "Upstream",
    "__version__", "asgi", "open_proxy", "serve",
]  # fmt: skip
