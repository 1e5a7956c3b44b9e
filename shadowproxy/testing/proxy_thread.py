"""A proxy in a thread of its own, with a Trio run of its own: for tests whose event loop is another one, or none.

In: settings. Out: its address, pipes to it as connected sockets, and calls of async functions inside it. It owns the thread; `close` drains the proxy,
ends the run and joins the thread. What goes wrong inside is raised by `close`, or already by the start.
"""
from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import trio

from shadowproxy.config import Config
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.exchange import Interceptor
from shadowproxy.gateway import Gateway
from shadowproxy.server import Proxy, open_proxy

T = TypeVar("T")
JOIN: Final = 60.0
"""Seconds for the proxy's shutdown: more than its own bounds."""


class ProxyThread:
    """It runs when this returns. Raises what `open_proxy` raises."""

    def __init__(self, config: Config, interceptors: Sequence[Interceptor] = ()) -> None:
        self._config, self._interceptors = config, interceptors
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._closed = False
        self._proxy: Proxy
        self._token: trio.lowlevel.TrioToken
        self._stop: trio.Event
        self._serving: trio.Nursery
        self._thread = threading.Thread(target=self._run, name="shadowproxy.testing", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed

    # ------------------------------------------------ inside
    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: ASYNC103 - it belongs to who started this thread
            self._failed = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        async with open_proxy(self._config, interceptors=self._interceptors) as proxy, trio.open_nursery() as serving:
            self._proxy, self._serving = proxy, serving
            self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
            self._ready.set()
            await self._stop.wait()
            await proxy.drain()
            serving.cancel_scope.cancel(reason="the test is over")

    async def _serve(self, sock: socket.socket) -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        async with stream:
            await StdioServer(self._config, self.gateway, stream, stream).run()

    # ------------------------------------------------ for other threads
    @property
    def url(self) -> str:
        return self._proxy.addresses[0]

    @property
    def gateway(self) -> Gateway:
        return self._proxy._gateway

    @property
    def upstream(self) -> Any:
        return self._proxy._upstream

    def connect(self) -> socket.socket:
        """A client's end of a pipe to the proxy."""
        ours, theirs = socket.socketpair()
        self._token.run_sync_soon(partial(self._serving.start_soon, self._serve, theirs))
        return ours

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run it there, and wait for it here."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def close(self) -> None:
        """A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._token.run_sync_soon(self._stop.set)
        except trio.RunFinishedError:
            pass  # it ended by itself, and `_failed` says why
        self._thread.join(JOIN)
        if self._thread.is_alive():
            raise TimeoutError(f"the proxy of this test has not ended within {JOIN:g} s")
        if self._failed is not None:
            raise self._failed
