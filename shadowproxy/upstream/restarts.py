"""When a child that has died may be replaced: after a pause that doubles from `FIRST` up to `LAST` while its like keep dying young.

In: births. Out: pauses. A child that lived for `STEADY` seconds starts the count anew. Owns no task.
"""
from __future__ import annotations

import trio

FIRST, LAST, STEADY = 0.1, 30.0, 10.0


class Restarts:
    def __init__(self) -> None:
        self._deaths = 0
        self._not_before = 0.0

    def died(self, born: float) -> None:
        """Note the death of one that was `born` then."""
        now = trio.current_time()
        self._deaths = 1 if now - born > STEADY else self._deaths + 1
        self._not_before = now + min(LAST, FIRST * 2.0 ** min(self._deaths - 1, 30))

    async def pause(self) -> None:
        """Wait until there may be another."""
        if self._deaths:
            await trio.sleep_until(self._not_before)
