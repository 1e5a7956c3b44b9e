"""Children kept warm: spawned ahead of need, spoken to by nobody yet.

In: a way to spawn one. Out: living ones, at once. Owns no task of its own: filling up runs in the nursery in which the children live too.
One that dies while it waits is never handed out; it is counted, and another takes its place after a pause (`restarts.py`).
"""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from shadowproxy.errors import ProxyError
from shadowproxy.upstream.link import Link
from shadowproxy.upstream.restarts import Restarts

log = logging.getLogger("shadowproxy")


class Warm:
    """As many as are `wanted`, while there is `room` for more. `fill` is started anew whenever one was taken or has died."""

    def __init__(self, wanted: int, spawn: Callable[[], Awaitable[Link]], room: Callable[[], bool]) -> None:
        self._wanted, self._spawn, self._room = wanted, spawn, room
        self._links: deque[Link] = deque()
        self._filling = False
        self._deaths = Restarts()
        self.nursery: trio.Nursery | None = None
        self.lost = 0  # that ended, of their own accord, before they had answered who had taken them

    @property
    def living(self) -> int:
        return sum(link.alive for link in self._links)

    def take(self) -> Link | None:
        """The oldest that lives, as far as the kernel knows by now. One whose end is not known here yet stays for that: there it is counted."""
        for link in self._links:
            if link.alive and not link.exited:
                self._links.remove(link)
                link.on_death = partial(self.died_unheard, link)
                return link
        return None

    def keep(self, link: Link) -> None:
        """Have it wait for who comes next; it has not been spoken to."""
        link.waiting_since = trio.current_time()
        self._links.append(link)
        link.on_death = partial(self._died, link)
        if link.over:
            link.on_death()

    def died_unheard(self, link: Link) -> None:
        """For `on_death` of one that was taken and has answered nothing yet: it may have been dead before, and counts like those that were."""
        if link.ending and link.waiting_since is not None:  # else it was let go, or has not waited
            self.lost += 1
            self._deaths.died(link.waiting_since)

    def _died(self, link: Link) -> None:
        self._links.remove(link)
        self._deaths.died(link.waiting_since or 0.0)
        self.fill_later()

    def fill_later(self) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(self.fill)

    async def fill(self) -> None:
        """Spawn what is wanted; a command that cannot be started is told to whoever needs it."""
        if self._filling:
            return  # whoever is at it looks again after each child
        self._filling = True
        try:
            await self._deaths.pause()
            while len(self._links) < self._wanted and self._room():
                self.keep(await self._spawn())
                await self._deaths.pause()
        except ProxyError as error:
            log.warning("the server process cannot be started", extra={"reason": error.message})
        finally:
            self._filling = False
