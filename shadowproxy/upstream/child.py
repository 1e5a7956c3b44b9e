"""Children: a command run in a process group of its own that cannot outlive us.

In: a command, started without a shell. Out: a `Child` with raw pipes, its last lines of stderr, its exit in words.
`run_child` owns the process and the one task that reads its stderr; whoever starts it owns both by owning `run_child`:

    with Warden() as warden:                                     # one for all children of a proxy, entered before their nursery
        async with trio.open_nursery() as children:
            child = await children.start(partial(run_child, command, env={}, cwd=None, grace=2, warden=warden))

The end of a child, whoever begins it:

| what happens | what follows |
|---|---|
| `run_child` is cancelled | stdin closed, grace, SIGTERM to the group, grace, SIGKILL; each wait ends the moment the leader is gone |
| the leader exits | its family is killed while the leader, a zombie yet, holds their number; only then is it reaped and forgotten |
| `run_child` is left in any other way | SIGKILL to the family, synchronously, in the outermost `finally` |
| the proxy is killed with SIGKILL | the same, by the warden (`warden.py`) |

*Who closes.* `run_child` closes stdin and stderr. Stdout is the holder's: what a dead child wrote stays readable, to EOF, after
`run_child` has returned; close it, or let go of it (an `FdStream` that nobody refers to closes itself). Someone must read it: a child
that cannot write its last words does not leave in its grace. Writing to a child that is gone raises `BrokenResourceError` or
`ClosedResourceError`.

PR_SET_PDEATHSIG is not used: it fires at the death of the *thread* that forked, here one of Trio's that ends after ten idle seconds,
and to set it in between fork and exec takes a `preexec_fn`, which gives up vfork and is unsafe beside threads.
"""
from __future__ import annotations

import errno
import os
import select
import signal  # numbers and names only: handling signals is the CLI's
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial

import attrs
import trio
from trio.lowlevel import FdStream

from shadowproxy.errors import UpstreamUnreachable
from shadowproxy.upstream.warden import Warden, kill_family, kill_holders

STDERR_LINES = 20  # what an error carries to the client, so it is small: 20 lines of 400 characters
STDERR_WIDTH = 400
STDERR_LINE = 8192  # bytes; a longer line loses its rest: runtimes show minified sources as one line of megabytes
STDERR_LEFT = 1 << 20  # the largest pipe Linux grants without privileges: a dead leader cannot have left more than that
DEATH = 5.0  # seconds from SIGKILL until we stop waiting: only a process stuck in the kernel (a dead NFS server) takes that long


@attrs.define(eq=False, repr=False, kw_only=True)
class Child:
    """A spawned process group that cannot outlive us; `run_child` makes it and looks after it."""

    pid: int
    stdin: FdStream
    stdout: FdStream
    exit_status: int | None = None  # negative: the signal, as in `subprocess`
    _stderr_lines: LastLines
    _announced: trio.Event

    def __repr__(self) -> str:
        return f"<Child {self.pid} {self.last_words()}>"

    @property
    def alive(self) -> bool:
        """False as soon as the exit is known, which is a moment before `wait` returns."""
        return self.exit_status is None

    def exited(self) -> bool:
        """Asks the kernel, and so knows of its exit even before `alive` does (but on macOS, where Python cannot ask)."""
        if not self.alive or not hasattr(os, "waitid"):
            return not self.alive
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped, if only a moment ago
            return True

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines it wrote on stderr; complete once `wait` has returned."""
        return tuple(self._stderr_lines.kept)

    def last_words(self) -> str:
        """How it is, or how it ended, to be put after its name."""
        if self.exit_status is None:
            return "is running"
        if self.exit_status >= 0:
            return f"exited with status {self.exit_status}"
        try:
            return f"was killed by {signal.Signals(-self.exit_status).name}"
        except ValueError:  # real-time signals have no names
            return f"was killed by signal {-self.exit_status}"

    def kill(self) -> None:
        """SIGKILL to the whole family, now. Does nothing once the exit is known."""
        if self.alive:
            kill_family(self.pid)

    async def wait(self) -> int:
        """The exit status, once the family is killed and all of stderr is in `stderr_tail`."""
        await self._announced.wait()
        assert self.exit_status is not None
        return self.exit_status


async def run_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None,
    grace: float,
    on_stderr: Callable[[str], None] | None = None,
    warden: Warden | None = None,
    task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED,
) -> int:
    """Run `command` until it exits, and return its exit status; `started(Child)` once it is spawned.

    `env` is added to our own environment. `on_stderr` is told every line of stderr. Without a `warden` the child gets one of its own,
    which costs 10 ms of CPU and 10 MB (4 of them unshared): who has many children shares one.

    Error handling: `UpstreamUnreachable` if it cannot be spawned. Resource handling: when this returns or raises, no process is left;
    cancelled, that takes at most twice `grace`, and `DEATH` for a process that the kernel itself cannot end.
    """
    with Warden() if warden is None else nullcontext(warden) as guard:
        keeper = await _spawn(command, {**os.environ, **env}, cwd, LastLines(on_stderr), guard)
        try:
            async with trio.open_nursery() as readers:
                readers.start_soon(keeper.read_stderr, name=f"stderr of child {keeper.child.pid}")
                task_status.started(keeper.child)
                await keeper.leader_ends(grace)
        finally:
            keeper.close()
        return await keeper.child.wait()


@attrs.define(eq=False, kw_only=True)
class _Keeper:
    """What `run_child` alone may touch: the process, and the sequence of its end."""

    child: Child
    process: trio.Process
    pidfd: int | None
    stderr: FdStream
    lines: LastLines
    pipes: Collection[int]
    forget: Callable[[], None]
    announce: Callable[[], None]
    reading: trio.CancelScope = attrs.field(factory=partial(trio.CancelScope, shield=True))

    async def leader_ends(self, grace: float) -> None:
        """Wait for it; cancelled, make it so."""
        try:
            await self._leader_gone()
        except BaseException:
            with trio.move_on_after(2 * grace + DEATH, shield=True):
                await self._stop(grace)
            raise
        finally:
            self._bury()

    async def read_stderr(self) -> None:
        """Until EOF, or until the leader is gone. Shielded: a child that cannot write on stderr during its stop would hang."""
        with self.reading:
            async for chunk in self.stderr:
                self.lines.feed(chunk)

    def close(self) -> None:
        """Take what is left in the pipe of stderr, close, free stdout from whoever still holds it, and tell those who wait."""
        try:
            self.lines.finish(self.stderr.fileno())
        finally:
            if _has_writer(self.stderr) or _has_writer(self.child.stdout):
                kill_holders(self.pipes)
            self.child.stdin.close()
            self.stderr.close()
            if self.pidfd is not None:
                os.close(self.pidfd)
            self.announce()

    async def _leader_gone(self) -> None:
        """Wait until the leader is a zombie; where there are no pidfds, until it has been reaped."""
        if self.pidfd is None:
            await self.process.wait()
        else:
            await trio.lowlevel.wait_readable(self.pidfd)

    async def _stop(self, grace: float) -> None:
        """Three steps, each harder than the one before."""
        for step, patience in ((self.child.stdin.close, grace), (self._terminate, grace), (self.child.kill, DEATH)):
            step()
            with trio.move_on_after(patience):
                await self._leader_gone()
                return

    def _terminate(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGTERM)

    def _bury(self) -> None:
        """The leader is gone: kill its family while the zombie still holds their number, then reap it."""
        kill_family(self.child.pid)
        status = self.process.poll()
        if status is not None:
            self.forget()
        self.child.exit_status = -signal.SIGKILL if status is None else status  # None: not even that ended it, the warden keeps it listed
        self.reading.cancel(reason="the child has exited")


# --- spawning

async def _spawn(command: Sequence[str], env: Mapping[str, str], cwd: str | None, lines: LastLines, warden: Warden) -> _Keeper:
    """When it returns there is a process, and no checkpoint until it is looked after; if it raises, or is cancelled, there is none."""
    try:
        with _open_pipes() as (theirs, ours):
            pipes = [os.fstat(fd).st_ino for fd in theirs]
            ticket = warden.expect(pipes)
            try:
                stdin, stdout, stderr = theirs
                process = await trio.lowlevel.open_process(
                    list(command), stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True)
            except BaseException:
                warden.forget(ticket)
                raise
            warden.know(ticket, process.pid)
    except (OSError, ValueError, IndexError) as error:
        raise UpstreamUnreachable(_why_not(command, cwd, error)) from error
    child = Child(pid=process.pid, stdin=ours[0], stdout=ours[1], stderr_lines=lines, announced=(announced := trio.Event()))
    return _Keeper(
        child=child, process=process, pidfd=_open_pidfd(process.pid), stderr=ours[2], lines=lines, pipes=pipes,
        forget=partial(warden.forget, ticket), announce=announced.set)


@contextmanager
def _open_pipes() -> Iterator[tuple[list[int], list[FdStream]]]:
    """Pipes for stdin, stdout, stderr: the child's ends, closed on leaving, and ours, closed if that is by an exception."""
    theirs, ours = [], []
    with ExitStack() as always, ExitStack() as on_failure:
        for child_reads in (True, False, False):
            read_end, write_end = os.pipe()  # close-on-exec, both
            their_end, our_end = (read_end, write_end) if child_reads else (write_end, read_end)
            always.callback(os.close, their_end)
            theirs.append(their_end)
            ours.append(FdStream(our_end))
            on_failure.callback(ours[-1].close)
        yield theirs, ours
        on_failure.pop_all()


def _open_pidfd(pid: int) -> int | None:
    """Something that becomes readable when the process exits, and leaves the reaping to us."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):  # an old kernel, a sandbox, too many open files: then Trio waits for it, and reaps it first
            return os.pidfd_open(pid)
    return None


def _has_writer(stream: FdStream) -> bool:
    """Whether anybody could still write to the pipe that we read from here, whatever is buffered in it."""
    if stream.fileno() == -1:  # closed by its holder
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # nothing but POLLHUP, which says that there is no writer
    return not poll.poll(0)


WHY_NOT = {
    errno.ENOENT: "it exists, but the interpreter that its first line names does not; install that, or correct the line",
    errno.EACCES: "it may not be executed; check its permissions (chmod +x), and that it is a file",
    errno.ENOEXEC: "it is no program for this machine; a script needs a first line such as #!/bin/sh",
    errno.E2BIG: "its arguments and environment are too long for this system; shorten them",
    errno.EMFILE: "the proxy has too many files open; raise its limit (ulimit -n) or lower the number of children",
    errno.ENFILE: "this machine has too many files open; raise fs.file-max or lower the number of children",
    errno.EAGAIN: "this machine grants the proxy no more processes; raise its limit (ulimit -u) or lower the number of children",
    errno.ENOMEM: "this machine is out of memory; lower the number of children",
}


def _why_not(command: Sequence[str], cwd: str | None, error: OSError | ValueError | IndexError) -> str:
    """What failed, whose fault it is, what to do: for the client and the log. Arguments may be secrets, so only the name is told."""
    if not command:
        return "The upstream has an empty command. Set `command` to the server's program and its arguments."
    name = command[0]
    if not isinstance(error, OSError):
        return f"The upstream command {name!r} cannot be started: {error}. Correct its `command` or `env`."
    if cwd is not None and not os.path.isdir(cwd):
        return f"The upstream command {name!r} cannot be started: its directory {cwd!r} does not exist. Create it, or correct `cwd`."
    if cwd is not None and error.filename == cwd:
        return f"The upstream command {name!r} cannot be started: its directory {cwd!r} may not be entered. Check its permissions."
    return f"The upstream command {name!r} cannot be started: {_reason(name, cwd, error)}."


def _reason(name: str, cwd: str | None, error: OSError) -> str:
    if error.errno == errno.ENOENT and "/" not in name:
        return "it is not in PATH; install it, or give its full path"
    if error.errno == errno.ENOENT and not os.path.exists(os.path.join(cwd or "", name)):
        return "there is no such file; install it, or correct its path"
    return WHY_NOT.get(error.errno or 0, f"{error.strerror}; this is the system's word for it")


# --- stderr

@attrs.define(eq=False)
class LastLines:
    """Cuts a stream into lines, tells each to `on_line`, and keeps the last ones."""

    _on_line: Callable[[str], None] | None
    kept: deque[str] = attrs.field(factory=lambda: deque(maxlen=STDERR_LINES), init=False)
    _line: bytearray = attrs.field(factory=bytearray, init=False)  # what came since the last newline

    def feed(self, chunk: bytes | bytearray) -> None:
        """Some more of the stream."""
        first, *others = chunk.split(b"\n")
        self._grow(first)
        for piece in others:
            self._end_line()
            self._grow(piece)

    def finish(self, fd: int) -> None:
        """The rest of the stream: what the pipe holds now. It does not wait for EOF, which is up to whoever else has the pipe."""
        for _ in range(0, STDERR_LEFT, 65536):
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # BlockingIOError: empty, but not closed
                break
            if not chunk:
                break
            self.feed(chunk)
        if self._line:
            self._end_line()

    def _grow(self, piece: bytes | bytearray) -> None:
        self._line += piece[:STDERR_LINE - len(self._line)]

    def _end_line(self) -> None:
        line = self._line.decode(errors="replace").rstrip("\r")
        self._line.clear()
        self.kept.append(line[:STDERR_WIDTH])
        on_line, self._on_line = self._on_line, None
        if on_line is not None:
            on_line(line)  # if it raises, which ends the child, it is told no more
            self._on_line = on_line
