"""A slot: where one exchange's replies arrive from a shared pipe, bounded; the sender never waits.

In: messages from the demultiplexer, synchronously. Out: the same, awaited by the one task that owns the exchange.
Too many waiting ends that exchange with `SlowConsumer`; nobody else notices.
"""
from __future__ import annotations

from collections import deque

import outcome
import trio

from shadowproxy.errors import SlowConsumer
from shadowproxy.exchange import Session
from shadowproxy.wire.jsonrpc import Message, Raw


class Slot:
    """At most `count` messages and, beyond a single one, `size` bytes wait. It ends with a response, by `close` or by `fail`."""

    __slots__ = ("_bytes", "_closed", "_count", "_error", "_messages", "_size", "_task", "greets", "id", "last", "listens", "log_level", "session",
                 "token")  # fmt: skip

    def __init__(self, id: Raw | None, count: int, size: int, session: Session | None = None) -> None:
        self.id = id  # the client's
        self.session = session
        self.token: Raw | None = None  # the client's progress token
        self.listens = self.greets = False  # is a subscription; is an `initialize`
        self.log_level: Raw | None = None  # of the log lines that it asked for
        self.last = False  # the response has been taken
        self._count, self._size = count, size
        self._messages: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._task: trio.lowlevel.Task | None = None
        self._error: Exception | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        return bool(self._messages)

    def put(self, message: Message, size: int) -> bool:
        """Hand over a message of `size` bytes; False, and the slot failed, if too much is waiting already. A failed one takes nothing more."""
        waiting = self._messages
        if self._error is not None:
            return False
        if waiting and (len(waiting) >= self._count or self._bytes + size > self._size) and not message.is_response:
            self.fail(SlowConsumer("messages came faster than they were read (limits.events, limits.buffer); read faster, or ask for fewer"))
            return False
        waiting.append((message, size))
        self._bytes += size
        self._wake()
        return True

    def drop_oldest(self) -> Message | None:
        """Make room; what was dropped, None if nothing waits."""
        if not self._messages:
            return None
        message, size = self._messages.popleft()
        self._bytes -= size
        return message

    def full(self, size: int) -> bool:
        return bool(self._messages) and (len(self._messages) >= self._count or self._bytes + size > self._size)

    def fail(self, error: Exception) -> None:
        """What waits is still delivered; then `error` is raised."""
        if self._error is None:
            self._error = error
        self._wake()

    def close(self) -> None:
        """What waits is still delivered; then the iteration ends."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task, outcome.Value(None))

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def __aiter__(self) -> Slot:
        return self

    async def __anext__(self) -> Message:
        if self.last:
            raise StopAsyncIteration
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        message, size = self._messages.popleft()
        self._bytes -= size
        self.last = message.is_response
        return message

    def take_over(self, other: Slot) -> None:
        """What waits in `other` waits here from now on."""
        self._messages, other._messages = other._messages, self._messages
        self._bytes, other._bytes = other._bytes, self._bytes

    def push_back(self, message: Message) -> None:
        """Undo the last take."""
        self._messages.appendleft((message, 0))
        self.last = False
