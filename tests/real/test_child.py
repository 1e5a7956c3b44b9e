"""Children against a real kernel: nobody survives, nothing that was said is lost, nothing is left open.

Wall clock, real processes; waiting is always for a condition with a deadline. What happens when the proxy itself is killed: test_warden.py.
"""
from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from families import FAMILY, children, family, nobody_left, python, until

from shadowproxy.errors import UpstreamUnreachable
from shadowproxy.upstream.child import STDERR_LINE, STDERR_LINES, STDERR_WIDTH, Child, run_child
from shadowproxy.upstream.warden import Warden

GRACE = 0.3


@pytest.fixture
def marker() -> Iterator[str]:
    with nobody_left() as marker:
        yield marker


# --- starting them

@asynccontextmanager
async def running(command: list[str], **options: Any) -> AsyncIterator[Child]:
    """A child, cancelled when the block is left. It may end before."""
    async with trio.open_nursery() as nursery:
        child = await nursery.start(partial(run_child, command, **{"env": {}, "cwd": None, "grace": GRACE, **options}))
        yield child
        nursery.cancel_scope.cancel()


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    with trio.fail_after(10):
        return b"".join([bytes(chunk) async for chunk in stream])


async def ended(command: list[str], **options: Any) -> tuple[Child, bytes]:
    """A child that ends by itself, and all it said."""
    with trio.fail_after(20):
        async with running(command, **options) as child:
            output = await everything(child.stdout)
            await child.wait()
    return child, output


# --- nobody survives

@pytest.fixture(params=["pidfd", "no pidfd"])
def _both_ways_to_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError

    if request.param == "no pidfd":
        monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.usefixtures("_both_ways_to_wait")
@pytest.mark.parametrize(
    ("traits", "status", "least"),
    [("obeys", 0, 0), ("ignores", -signal.SIGTERM, GRACE), ("ignores deaf", -signal.SIGKILL, 2 * GRACE)])
async def test_a_cancelled_child_is_asked_then_told_then_killed(marker: str, traits: str, status: int, least: float) -> None:
    async with running(python(FAMILY, marker, *traits.split())) as child:
        assert await child.stdout.receive_some(6) == b"ready\n"
        assert (child.alive, len(family(marker))) == (True, 2)
        began = trio.current_time()
    assert least <= trio.current_time() - began
    assert (child.alive, child.exit_status) == (False, status)
    await until(lambda: not family(marker))


@pytest.mark.usefixtures("_both_ways_to_wait")
async def test_the_orphans_of_a_child_that_exits_are_killed(marker: str) -> None:
    child, output = await ended(python(FAMILY, marker, "exits"))
    assert (output, child.exit_status, child.stderr_tail) == (b"ready\n", 7, ("last words",))
    await until(lambda: not family(marker))


@pytest.mark.parametrize("flight", ["regrouped", "detached"])
@pytest.mark.parametrize("end", ["exits", "ignores"])
async def test_who_left_the_group_or_holds_our_pipes_is_killed_too(marker: str, flight: str, end: str) -> None:
    async with running(python(FAMILY, marker, end, flight)) as child:
        assert await child.stdout.receive_some(6) == b"ready\n"
        if end == "exits":
            await child.wait()
    assert await everything(child.stdout) == b""
    await until(lambda: not family(marker))


async def test_a_daemon_has_left_on_purpose(marker: str) -> None:
    await ended(python(FAMILY, marker, "exits", "daemon"))
    await until(lambda: len(family(marker)) == 1)
    os.kill(family(marker).pop(), signal.SIGKILL)
    await until(lambda: not family(marker))


@pytest.mark.usefixtures("_both_ways_to_wait")
async def test_who_asks_the_kernel_knows_of_its_exit_at_once(marker: str) -> None:
    async with running(python(FAMILY, marker, "ignores")) as child:
        await child.stdout.receive_some(6)
        assert not child.exited()
        os.kill(child.pid, signal.SIGKILL)
        with trio.fail_after(10):
            while not child.exited():
                await trio.lowlevel.checkpoint()
            await child.wait()
        assert (child.exited(), child.alive) == (True, False)


async def test_kill_is_immediate_and_may_be_repeated(marker: str) -> None:
    async with running(python(FAMILY, marker, "ignores", "deaf"), grace=60) as child:
        await child.stdout.receive_some(6)
        child.kill()
        child.kill()
        with trio.fail_after(5):
            assert await child.wait() == -signal.SIGKILL
        child.kill()
    await until(lambda: not family(marker))


async def test_no_grace_is_allowed(marker: str) -> None:
    async with running(python(FAMILY, marker, "ignores", "deaf"), grace=0) as child:
        await child.stdout.receive_some(6)
    assert not child.alive
    await until(lambda: not family(marker))


async def test_a_bug_in_on_stderr_is_loud_and_leaves_nothing(marker: str) -> None:
    def broken(_line: str) -> None:
        raise KeyError

    with pytest.RaisesGroup(pytest.RaisesGroup(KeyError)):
        async with running(python("print(1, file=__import__('sys').stderr); input()", marker), on_stderr=broken):
            await trio.sleep_forever()
    await until(lambda: not family(marker))


# --- nothing is lost

async def test_what_a_dead_child_wrote_can_be_read_to_the_end(marker: str) -> None:
    async with running(python(FAMILY, marker, "exits", "wordy")) as child:
        await child.wait()
    assert await everything(child.stdout) == b"ready\n" + b"x" * 60000


async def test_all_of_stderr_is_there_when_the_exit_is_announced() -> None:
    told: list[str] = []
    program = f"import os; [os.write(2, b'%d\\r\\n' % i) for i in range(30)]; os.write(2, b'\\xff' + b'z' * {2 * STDERR_LINE}); os._exit(3)"
    async with running(python(program), on_stderr=told.append) as child:
        await child.wait()
    await child.stdout.aclose()
    assert told == [*map(str, range(30)), "\ufffd" + "z" * (STDERR_LINE - 1)]
    assert child.stderr_tail == tuple(line[:STDERR_WIDTH] for line in told[-STDERR_LINES:])


async def test_stderr_is_drained_while_it_runs_and_while_it_is_stopped() -> None:
    flood = "import os; os.write(2, b'e' * 3000000); os.write(1, b'.'); os.read(0, 1); os.write(2, b'\\n' + b'e' * 3000000 + b'\\nbye')"
    async with running(python(flood), grace=20) as child:
        assert await child.stdout.receive_some() == b"."
    assert (child.exit_status, child.stderr_tail[-1]) == (0, "bye")


@pytest.mark.parametrize(
    ("program", "words"),
    [("import os; os._exit(3)", "exited with status 3"),
     ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
     ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40")])
async def test_the_exit_in_words(program: str, words: str) -> None:
    child, _ = await ended(python(program))
    assert (child.last_words(), repr(child)) == (words, f"<Child {child.pid} {words}>")


async def test_a_living_child_is_running_and_a_dead_one_takes_no_more_words() -> None:
    async with running(python("input()")) as child:
        assert child.last_words() == "is running"
        await child.stdin.send_all(b"\n")
        assert await child.wait() == 0
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await child.stdin.send_all(b"x")


# --- how it is started

async def test_its_environment_directory_and_arguments_are_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "a")
    program = "import os, sys; print(os.environ['OURS'], os.environ['ITS'], os.getcwd(), sys.argv[1])"
    _, output = await ended(python(program, "$HOME; ls"), env={"ITS": "b"}, cwd=str(tmp_path))
    assert output.decode() == f"a b {tmp_path} $HOME; ls\n"


async def test_it_inherits_nothing_but_its_pipes() -> None:
    with Warden() as warden:
        _, output = await ended(python("import os; print(os.getsid(0) == os.getpid(), os.listdir('/proc/self/fd'))"), warden=warden)
    assert output == b"True ['0', '1', '2', '3']\n"  # 3 is that of listdir itself


@pytest.mark.parametrize(
    ("command", "cwd", "words"),
    [(["no-such-command-anywhere"], None, "not in PATH"),
     (["./nothing"], None, "no such file"),
     (["./orphaned"], None, "interpreter"),
     (["./plain"], None, "chmod"),
     (["."], None, "may not be executed"),
     (["./gibberish"], None, "#!/bin/sh"),
     (["true"], "/no/such/directory", "'/no/such/directory' does not exist"),
     (["true", "a\0b"], None, "null byte"),
     (["true", "x" * 3_000_000], None, "too long"),
     ([], None, "empty command")])
async def test_a_command_that_cannot_be_started_says_why(tmp_path: Path, command: list[str], cwd: str | None, words: str) -> None:
    for name, content, mode in (("orphaned", "#!/no/such/interpreter\n", 0o755), ("plain", "#!/bin/sh\n", 0o644), ("gibberish", "?", 0o755)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    with pytest.raises(UpstreamUnreachable) as caught:
        await run_child(command, env={}, cwd=str(tmp_path) if cwd is None else cwd, grace=1)
    assert words in caught.value.message


async def test_running_out_of_files_is_said_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = os.pipe, [2]

    def pipe() -> tuple[int, int]:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(24, "Too many open files")
        return real()

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(UpstreamUnreachable, match="ulimit -n"):
        await run_child(["true"], env={}, cwd=None, grace=1)


# --- at any time

@attrs.define(eq=False)
class CancelAt(trio.abc.Instrument):
    """Cancels `scope` at the k-th scheduling step."""

    k: int
    scope: trio.CancelScope
    step: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self.step += 1
        if self.step == self.k:
            self.scope.cancel()


@pytest.mark.parametrize("shared", [True, False])
def test_cancelled_at_any_step_it_leaves_nothing(marker: str, *, shared: bool) -> None:
    async def scenario(scope: trio.CancelScope) -> None:
        with Warden() as warden, scope:
            async with running(python(FAMILY, marker, "ignores"), grace=0.01, warden=warden if shared else None) as child:
                assert await child.stdout.receive_some(6) == b"ready\n"
        assert (warden.pid, children()) == (None, before)
        await until(lambda: not family(marker))

    before, fds = children(), len(os.listdir("/proc/self/fd"))
    k, reached = 0, True
    while reached:
        k += 1
        instrument = CancelAt(k, trio.CancelScope())
        trio.run(scenario, instrument.scope, instruments=[instrument])
        reached = instrument.scope.cancelled_caught
        assert len(os.listdir("/proc/self/fd")) == fds
    assert k > 10


async def test_fifty_cycles_leave_everything_as_it_was() -> None:
    def figures() -> tuple[int, set[int], int]:
        return len(os.listdir("/proc/self/fd")), children(), trio.lowlevel.current_statistics().tasks_living

    with Warden() as warden:
        async with running(["cat"], warden=warden):
            pass
        before = figures()
        for _ in range(50):
            async with running(["cat"], warden=warden) as child:
                await child.stdin.send_all(b"x")
                assert await child.stdout.receive_some() == b"x"
            assert child.exit_status == 0
        del child
        assert figures() == before
        assert repr(warden) == f"<Warden pid={warden.pid} children=0>"
