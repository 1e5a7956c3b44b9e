"""A background service that outlives its users, the block of a user among them, and the start of something that several wait for.

In: long-running functions. Out: a block in which they run; `Starting`, which tells whoever waits how a start ended. Leaving the block ends them; a cancellation from outside reaches the block's
body first and the services only after it has left, so that the body's own clean-up may still use them.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import trio


@asynccontextmanager
async def running(*services: Callable[[], Awaitable[object]]) -> AsyncIterator[trio.Nursery]:
    """Run `services` in tasks of their own until the body has left. A service that fails takes the body down with it."""
    # Each shield is bounded by the body: lifted, and its service cancelled, the moment the body leaves.
    scopes = [trio.CancelScope(shield=True) for _ in services]

    async def run(service: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
        with scope:
            await service()

    async with trio.open_nursery() as nursery:
        for service, scope in zip(services, scopes, strict=True):
            nursery.start_soon(run, service, scope)  # noqa: ASYNC113 - `run` of a service needs no start: the body waits for what it needs
        try:
            yield nursery
        finally:
            for scope in scopes:
                scope.shield = False
            nursery.cancel_scope.cancel(reason="the body of the service has left")


class AsItself:
    """What a user's block raises inside nurseries of ours leaves them as itself, not within a group for each of them.

        with AsItself() as user:
            async with trio.open_nursery():
                with user.block(): ...

    A group in which there is more than that one error stays a group: nothing that went wrong beside it is lost.
    """

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    @contextmanager
    def block(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._raised = error
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raised, self._raised = self._raised, None
        if raised is None or error is None or raised is error or _leaves(raised) != _leaves(error):
            return
        context = raised.__context__
        try:
            raise raised
        finally:
            raised.__context__ = context  # not the groups that it came in
            del raised, error  # they hold this frame, which would hold them


class Starting(trio.TaskStatus[None]):
    """A start that belongs to nobody who waits for it: it succeeds once, or fails with a reason. Give it to a task as its `task_status`."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self._error: Exception | None = None

    def started(self, value: None = None) -> None:
        self._over.set()

    def fail(self, error: Exception) -> None:
        """Too late is no error: what has started has started."""
        if not self._over.is_set():
            self._error = error
            self._over.set()

    async def wait(self) -> None:
        """Return once it has started. Raises what it failed with."""
        await self._over.wait()
        if self._error is not None:
            raise self._error


def first_of(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first bare error in a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def _leaves(error: BaseException) -> list[int]:
    """The bare errors in it, by identity. (Of groups there are copies: each cancel scope on the way makes its own.)"""
    return [leaf for one in error.exceptions for leaf in _leaves(one)] if isinstance(error, BaseExceptionGroup) else [id(error)]
