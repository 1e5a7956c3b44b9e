"""Children made of memory: what a link spawns in tests that have no business with a kernel. Virtual time holds.

In: a program, called for every message that such a child reads. Out: a `Nursery` of children that takes the place of `run_child` and of the warden
(`spawning`). A child's end is as the real one's: its stdout ends, it has a status and last lines of stderr, and whoever ran it returns.
"""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

import pytest
import trio
import trio.testing

from shadowproxy.errors import UpstreamUnreachable
from shadowproxy.wire.lines import LineParser

Json: TypeAlias = dict[str, Any]


class MemoryChild:
    """Both sides of a child: `stdin`, `stdout` and its exit are the link's; the rest is the program's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stdin, self._input = trio.testing.memory_stream_one_way_pair()
        self._output, self.stdout = trio.testing.memory_stream_one_way_pair()
        self.exit_status: int | None = None
        self.stderr_tail: tuple[str, ...] = ()
        self._ended, self._writing = trio.Event(), trio.Lock()
        self.read: list[Json] = []
        self.raw: list[bytes] = []  # the same lines as they came
        self.input_closed = False
        self.killed = False  # the kernel knows that it has exited, the proxy not yet

    # ------------------------------------------------ as the link sees it
    @property
    def alive(self) -> bool:
        return self.exit_status is None

    def exited(self) -> bool:
        return self.exit_status is not None or self.killed

    def last_words(self) -> str:
        return "is running" if self.exit_status is None else f"exited with status {self.exit_status}"

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.exit_status is not None
        return self.exit_status

    # ------------------------------------------------ as the program sees it
    async def say(self, message: Mapping[str, Any]) -> None:
        await self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Bytes on stdout; into the void if nobody reads."""
        try:
            async with self._writing:
                await self._output.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def close_stdout(self) -> None:
        self._output.close()

    def close_stdin(self) -> None:
        """Read no more: whoever writes to it is told."""
        self._input.close()

    def exit(self, status: int, *stderr: str) -> None:
        if self.exit_status is None:
            self.exit_status, self.stderr_tail = status, stderr
            self._output.close()
            self._input.close()
            self._ended.set()

    async def lines(self, take: Callable[[Json], None]) -> None:
        """Read messages until the input ends."""
        parser = LineParser(1 << 20)
        try:
            async for data in self._input:
                for line in parser.feed(bytes(data)):
                    self.raw.append(line)
                    self.read.append(json.loads(line))
                    take(self.read[-1])
        except trio.ClosedResourceError:
            return
        self.input_closed = True


Program: TypeAlias = Callable[[MemoryChild, Json], Awaitable[None]]


class Nursery:
    """Where they are spawned. `refusal`, if set, is why no more can be; `on_spawn` may do something to a fresh one."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.children: list[MemoryChild] = []
        self.refusal: str | None = None
        self.delay = 0.0
        self.on_spawn: Callable[[MemoryChild], None] | None = None

    @property
    def living(self) -> list[MemoryChild]:
        return [child for child in self.children if child.alive]

    async def run_child(self, command: Sequence[str], *, env: Mapping[str, str], cwd: str | None, grace: float, on_stderr: Callable[[str], None],
                        warden: object, task_status: trio.TaskStatus[MemoryChild] = trio.TASK_STATUS_IGNORED) -> int:  # fmt: skip
        await trio.sleep(self.delay)
        if self.refusal is not None:
            raise UpstreamUnreachable(self.refusal)
        child = MemoryChild(1000 + len(self.children))
        self.children.append(child)
        if self.on_spawn is not None:
            self.on_spawn(child)
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(child.lines, lambda message: tasks.start_soon(self._program, child, message))
                task_status.started(child)
                await child.wait()
                tasks.cancel_scope.cancel(reason="the child has ended")
        finally:
            child.exit(-15)
        return await child.wait()


class NoWarden:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@contextmanager
def spawning(program: Program) -> Iterator[Nursery]:
    """Children of `program` instead of real ones, for as long as the block is open."""
    nursery = Nursery(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shadowproxy.upstream.link.run_child", nursery.run_child)
        patch.setattr("shadowproxy.upstream.stdio.Warden", NoWarden)
        yield nursery
