"""The gateway: exchange -> admission -> interceptors -> the upstream.

In: an exchange from any downstream. Out: what its upstream replies. The onion of interceptors is made once, not per request.
Owns no task and closes nothing: what is acquired belongs to the exchange.
"""
from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial

from shadowproxy.admission import Admission
from shadowproxy.exchange import Aside, Call, End, Exchange, Interceptor, Listen, Notify, Replies, Reply, Said, Upstream


class Gateway:
    """Outermost interceptor first, as given."""

    def __init__(self, upstream: Upstream, admission: Admission, interceptors: Sequence[Interceptor] = ()) -> None:
        self.upstream, self.admission = upstream, admission
        self._call: Call = upstream.call
        self.notify: Notify = upstream.notify
        self.listen: Listen = upstream.listen
        self.end: End = upstream.end
        self._asides: list[Aside] = [aside for one in interceptors if (aside := getattr(one, "aside", None)) is not None]
        for interceptor in reversed(interceptors):
            self._call = partial(interceptor.call, self._call)
            if (notify := getattr(interceptor, "notify", None)) is not None:
                self.notify = partial(notify, self.notify)
            if (listen := getattr(interceptor, "listen", None)) is not None:
                self.listen = partial(listen, self.listen)
            if (end := getattr(interceptor, "end", None)) is not None:
                self.end = partial(end, self.end)

    def call(self, exchange: Exchange) -> Awaitable[Reply]:
        """Admit the exchange and have it answered. (No coroutine of its own where nothing has to be waited for: see design.md, "Speed".)"""
        if self.admission.enter_nowait(exchange):
            return self._call(exchange)
        return self._call_later(exchange)

    def aside(self, exchange: Exchange, said: Said) -> None:
        """Tell the interceptors, outermost first, what is said to the client, or by it, past the onion."""
        for aside in self._asides:
            aside(exchange, said)

    async def _call_later(self, exchange: Exchange) -> Reply:
        await self.admission.enter(exchange)
        return await self._call(exchange)


__all__ = ["Gateway", "Replies"]
