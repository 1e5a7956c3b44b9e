"""A link: a peer that is a child process, its lines on two pipes.

In: what the peer's outbox holds. Out: every line of the child's output to the peer. `run` owns the child, one writer fed whole lines and one reader
that never waits for a consumer. When the child ends, everybody who waits is told how it ended, with its last lines of stderr.
"""
from __future__ import annotations

import logging
from functools import partial

import trio

from shadowproxy.config import Config
from shadowproxy.errors import UpstreamExited
from shadowproxy.upstream.child import Child, run_child
from shadowproxy.upstream.peer import CHUNK, Peer
from shadowproxy.upstream.warden import Warden
from shadowproxy.wire.lines import LineParser

log = logging.getLogger("shadowproxy")


class Link(Peer):
    """One child. `warden` makes sure that it does not outlive us."""

    def __init__(self, config: Config, warden: Warden) -> None:
        super().__init__(config)
        self._warden = warden
        self.child: Child | None = None
        self.ending = False  # one of its pipes is closed: of its own accord, or of somebody else's than ours
        self.waiting_since: float | None = None  # of one that was kept warm (`warm.py`)

    @property
    def alive(self) -> bool:
        return super().alive and not self.ending and self.child is not None and self.child.alive

    @property
    def exited(self) -> bool:
        """What the kernel says of its process now; `alive` learns that a moment later."""
        return self.child is None or self.child.exited()

    def usable(self) -> bool:
        """Likewise, for one that nobody has looked at while it was idle."""
        return super().usable() and not self.exited

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Spawn the child and serve until it ends, or until `abort`. Raises `UpstreamUnreachable` before `started` only."""
        upstream, name = self._config.upstream, self._config.upstream.command[0]
        with self.scope:
            try:
                async with trio.open_nursery() as tasks:
                    start = partial(run_child, upstream.command, env=upstream.env, cwd=upstream.cwd, grace=self._config.timeouts.child_grace,
                                    on_stderr=partial(_log_line, name), warden=self._warden)  # fmt: skip
                    self.child = await tasks.start(start)
                    task_status.started()
                    tasks.start_soon(self._write, self.child.stdin)
                    await self._read(self.child.stdout)
                    await self._await_end(self.child)
                    tasks.cancel_scope.cancel(reason="the child has ended")
            finally:
                self.fail(UpstreamExited("the server process was stopped by shadowproxy"))
                self.outbox.close()
                if self.child is not None:
                    self.child.stdout.close()

    async def _await_end(self, child: Child) -> None:
        """Its output has ended, so it is of no more use; its exit tells why, if it comes soon."""
        self.ending = True
        with trio.move_on_after(self._config.timeouts.child_grace):
            await child.wait()
        name = self._config.upstream.command[0]
        tail = child.stderr_tail
        said = f"; its last words on stderr: {tail[-1]}" if tail else ""
        how = "closed its output" if child.exit_status is None else child.last_words()
        if not self.scope.cancel_called:
            log.warning("server process ended", extra={"command": name, "how": how, "stderr": "\n".join(tail)})
        self.fail(UpstreamExited(f"the server process {name} {how}{said}", {"exit_status": child.exit_status, "stderr": list(tail)}))

    async def _write(self, stdin: trio.abc.SendStream) -> None:
        try:
            while True:
                data = await self.outbox.take()
                await stdin.send_all(data)
                self.outbox.written(len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.outbox.close()
            self.ending = True
            await trio.sleep(self._config.timeouts.child_grace)  # what it still says counts, and its exit tells why, if it comes soon
            self.fail(UpstreamExited(f"the server process {self._config.upstream.command[0]} does not read its input any more"))
            self.scope.cancel(reason="the child does not read")

    async def _read(self, stdout: trio.abc.ReceiveStream) -> None:
        parser = LineParser(self._config.limits.message)
        try:
            while data := await stdout.receive_some(CHUNK):
                for line in parser.feed(bytes(data)):
                    self.deliver(line)
                while parser.heads:
                    self.too_large(parser.heads.popleft())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


def _log_line(name: str, line: str) -> None:
    log.debug("stderr", extra={"command": name, "line": line})
