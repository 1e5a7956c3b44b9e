"""Handles: strings that a server makes up and a client only gives back (cursors, request states, task ids). Pure code.

In: a recorded result and the live one in its place. Out: parameters in which each recorded handle is the live one. Bounded: the oldest are forgotten.
"""
from __future__ import annotations

from typing import Any, Final

import msgspec

from shadowproxy.wire.jsonrpc import Message, Raw, encode

GIVEN: Final = ("nextCursor", "requestState", "taskId")
TAKEN: Final = ("cursor", "requestState", "taskId")
KEPT: Final = 10_000
"""Handles that are remembered; a client that pages through more than that begins at the front again."""


class Handles:
    def __init__(self) -> None:
        self._live: dict[str, str] = {}

    def learn(self, recorded: Any, live: Any) -> None:
        """From two responses to one request."""
        old, new = _result(recorded), _result(live)
        for level in ((old, new), (old.get("task"), new.get("task"))):
            for name in GIVEN:
                before, now = (side.get(name) if isinstance(side, dict) else None for side in level)
                if isinstance(before, str) and isinstance(now, str):
                    self._live.pop(before, None)
                    self._live[before] = now
        while len(self._live) > KEPT:
            del self._live[next(iter(self._live))]

    def exchange(self, message: Message) -> None:
        """Put the live handles into the parameters of this message."""
        if not self._live or not any(message.mentions(name.encode()) for name in TAKEN):
            return
        params = message.params()
        for name in TAKEN:
            value = params.get(name)
            if isinstance(value, Raw) and (live := self._live.get(_text(value) or "")) is not None:
                params[name] = Raw(encode(live))


def _result(response: Any) -> dict[str, Any]:
    result = response.get("result") if isinstance(response, dict) else None
    return result if isinstance(result, dict) else {}


def _text(value: Raw) -> str | None:
    try:
        return msgspec.json.decode(value, type=str)
    except msgspec.MsgspecError:
        return None
