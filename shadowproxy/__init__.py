"""shadowproxy: a proxy for the Model Context Protocol, and structured concurrency all the way down.

    async with shadowproxy.open_proxy(config) as proxy: ...        # addresses, drain(), statistics()
    proxy = await nursery.start(shadowproxy.serve, config)
    app = shadowproxy.asgi(config)                                 # an ASGI application
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shadowproxy.version import VERSION

if TYPE_CHECKING:  # at run time each is imported when it is first asked for: `shadowproxy --version` needs none of them
    from shadowproxy.application import asgi
    from shadowproxy.config import Config, Limits, Timeouts, Upstream
    from shadowproxy.downstream.listen import CannotListen
    from shadowproxy.errors import ConfigError, ProxyError
    from shadowproxy.exchange import Exchange, Interceptor
    from shadowproxy.server import Proxy, open_proxy, serve
    from shadowproxy.wire.jsonrpc import Message

__version__ = VERSION

__all__ = [
    "CannotListen", "Config", "ConfigError", "Exchange", "Interceptor", "Limits", "Message", "Proxy", "ProxyError", "Timeouts", "Upstream",
    "__version__", "asgi", "open_proxy", "serve",
]  # fmt: skip

_HOMES = {
    "application": ("asgi",), "config": ("Config", "Limits", "Timeouts", "Upstream"), "downstream.listen": ("CannotListen",),
    "errors": ("ConfigError", "ProxyError"), "exchange": ("Exchange", "Interceptor"), "server": ("Proxy", "open_proxy", "serve"), "wire.jsonrpc": ("Message",),
}  # fmt: skip
"""Which file each public name is from."""


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"shadowproxy.{home}"), name)
            return found
    raise AttributeError(f"module 'shadowproxy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
