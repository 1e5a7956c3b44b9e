"""The proxy as an ASGI application, for whoever has a server already.

In: a `Config` (its `listen` is not used). Out: an ASGI app that opens the proxy in its lifespan and closes it with it.
The lifespan's task owns all that `open_core` owns; a server that offers no lifespan cannot host it, and each request says so. A start that fails is told to the server
(`lifespan.startup.failed`), which then ends.
It needs Trio: hypercorn with its Trio worker, or `shadowproxy` itself.
"""
from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shadowproxy.config import Config
from shadowproxy.downstream.answer import refuse
from shadowproxy.downstream.mcp import Endpoint
from shadowproxy.downstream.origins import Origins
from shadowproxy.errors import Overloaded
from shadowproxy.exchange import Interceptor
from shadowproxy.server import open_core, open_recording, open_upstream
from shadowproxy.service import first_of, running
from shadowproxy.watch import Watch

log = logging.getLogger("shadowproxy")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Made by `asgi`."""

    def __init__(self, config: Config, interceptors: Sequence[Interceptor]) -> None:
        self._config, self._interceptors = config, interceptors
        self._endpoint: Endpoint | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3. Every server types it in its own way, so here it has no types."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        elif self._endpoint is None:
            await refuse(send, Overloaded("this proxy is not running: its server did not run the ASGI lifespan"), None)
        else:
            await self._endpoint(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        watch = Watch()
        config, started = self._config, False
        try:
            async with (open_recording(config, self._interceptors) as (interceptors, _), running(watch.run), open_upstream(config, watch) as upstream,
                        open_core(config, watch, interceptors, upstream) as (gateway, sessions)):  # fmt: skip
                self._endpoint = Endpoint(config, gateway, sessions, Origins((), config.allowed_hosts, config.allowed_origins))
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await sessions.close()
        except Exception as error:
            if started:
                raise
            reason = first_of(error) if isinstance(error, ExceptionGroup) else error
            log.error("the proxy could not be started", exc_info=error)
            return await send({"type": "lifespan.startup.failed", "message": f"shadowproxy could not be started: {reason}"})  # noqa: ASYNC120 - cancelled, nobody waits for it
        finally:
            self._endpoint = None
            watch.close()
        await send({"type": "lifespan.shutdown.complete"})


def asgi(config: Config, *, interceptors: Sequence[Interceptor] = ()) -> Application:
    """An ASGI application that is this proxy, at `config.path`."""
    return Application(config, interceptors)
