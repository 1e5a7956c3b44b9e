"""Signals: the first asks for a drain, the second cuts it short.

In: SIGINT and SIGTERM. Out: a drain, then a cancelled scope. `run_until_signalled` owns the proxy and the one task that listens.
"""
from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial

import trio

from shadowproxy.cli import exits
from shadowproxy.cli.logs import log
from shadowproxy.config import Config
from shadowproxy.exchange import Interceptor
from shadowproxy.server import open_proxy
from shadowproxy.service import running


async def run_until_signalled(config: Config, interceptors: Sequence[Interceptor] = ()) -> int:
    """Run the proxy until its input ends or a signal asks for its end; give the exit code."""
    serving, whole = trio.CancelScope(), trio.CancelScope()
    with whole, trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with running(partial(_obey, signals, serving, whole)), open_proxy(config, interceptors=interceptors) as proxy:
            for address in proxy.addresses:
                log.info("listening", extra={"address": address})
            with serving:
                await proxy.finished()
            await proxy.drain()
    return exits.CUT_SHORT if whole.cancelled_caught else exits.OK


async def _obey(signals: AsyncIterator[int], serving: trio.CancelScope, whole: trio.CancelScope) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        if serving.cancel_called:
            log.warning("a second signal: what is unfinished is dropped", extra={"signal": name})
            whole.cancel(reason=f"a second signal, {name}")
        else:
            log.info("draining; a second signal cuts it short", extra={"signal": name})
            serving.cancel(reason=name)
