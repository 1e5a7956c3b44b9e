"""The warden: a tiny process that outlives the proxy by a moment, to take the proxy's children along, even after `kill -9`.

Theory of operation. The warden holds the read end of a pipe whose write end only the proxy has (it is close-on-exec, so no child
gets it). Along it the proxy says which children it has, one line each:

    <ticket> <leader> <inode> <inode> <inode>     a child: the pid of its leader (0 while it is being spawned), and its three pipes
    <ticket>                                      that child and its family are gone

However the proxy ends, the kernel closes the pipe. At its end the warden kills whatever is still listed, and exits.
A child is listed before it is spawned: until its pid is known it is known by its pipes, so there is no moment to slip through.

In: lines on stdin. Out: SIGKILL. The file holds both ends of the talk: the program (`main`), which is started with `python -I -S`
and therefore imports next to nothing, and the proxy's end of it (`Warden`), which owns the process and closes it.

Who belongs to a child: its process group; its session, if it has members in other groups (Linux: looks at /proc, which cost 1 us a
process each); whoever still holds one of its pipes as stdin, stdout or stderr (Linux). Who has left the session *and* let go of the pipes,
as a daemon does, has left on purpose and is let go.
"""
from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False  # typing itself would double the start-up time of the program
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType
    from typing import Self

LOOKS = 10  # at /proc: a family that forks on and on before all of them is a fork bomb, whose group is dead by then anyway
AFTERMATH = 5  # sweeps for holders of pipes, 20 ms apart, once the proxy has ended: there is time, and pipes are never mistaken


def kill_family(leader: int) -> None:
    """SIGKILL, now, for the group and the session of `leader`. The caller makes sure that the number is still the leader's own."""
    _kill(os.killpg, leader)
    _sweep(lambda pid: _session_of(pid) == leader, lambda pid: _kill(os.kill, pid))


def kill_holders(pipes: Collection[int]) -> None:
    """SIGKILL for all that hold one of `pipes` (inodes) as stdin, stdout or stderr, and for their sessions. Without /proc: nothing."""
    names = {f"pipe:[{inode}]" for inode in pipes}

    def kill(pid: int) -> None:
        session = _session_of(pid)
        if session and session != os.getsid(0):
            kill_family(session)
        _kill(os.kill, pid)

    _sweep(lambda pid: not names.isdisjoint(_standard_streams(pid)), kill)


def _sweep(wanted: Callable[[int], bool], kill: Callable[[int], None]) -> None:
    """Kill the wanted, until two looks running find nobody new: during one, a process can fork behind us and exit before us."""
    killed = {os.getpid()}
    quiet = 0
    for _ in range(LOOKS):
        found = {pid for pid in _processes() if pid not in killed and wanted(pid)}
        quiet = 0 if found else quiet + 1
        if quiet == 2:
            return
        for pid in found:
            kill(pid)
        killed |= found


def _processes() -> Iterator[int]:
    try:
        return (int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return iter(())  # not Linux


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _standard_streams(pid: int) -> Iterator[str]:
    for fd in (0, 1, 2):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed; the next may be open
        except OSError:
            return  # not ours to look at


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    try:
        kill(number, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone; or another user's (setuid), which we may not touch; macOS says the latter of zombies


class Warden:
    """The proxy's end: `with Warden() as warden`, one for all children of a proxy. The process is started with the first child.

    Everything here is synchronous: to start it takes 0.3 ms, a line 10 us, and to close it 1.5 ms.
    A warden that dies (somebody kills it) is missed at the next line, that is when the next child comes or goes, and replaced at once.
    """

    def __init__(self) -> None:
        self._listed: dict[int, str] = {}
        self._tickets = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def __repr__(self) -> str:
        return f"<Warden pid={self.pid} children={len(self._listed)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the warden that runs now, if one does."""
        return None if self._process is None else self._process.pid

    def expect(self, pipes: Collection[int]) -> int:
        """List a child that is about to be spawned with these pipes (inodes); its ticket. OSError if no warden can be started."""
        self._tickets += 1
        self._listed[self._tickets] = " ".join(map(str, (0, *pipes)))
        try:
            self._tell(self._tickets)
        except OSError:
            del self._listed[self._tickets]
            raise
        return self._tickets

    def know(self, ticket: int, leader: int) -> None:
        """The expected child has been spawned: this is the pid of its leader."""
        self._listed[ticket] = f"{leader} {self._listed[ticket].partition(' ')[2]}"
        with suppress(OSError):  # there is a child already; the next one will meet the same trouble, and say so
            self._tell(ticket)

    def forget(self, ticket: int) -> None:
        """The child is dead, or never was. Its pid may be somebody else's from now on."""
        del self._listed[ticket]
        with suppress(OSError):
            self._tell(ticket)

    def close(self) -> None:
        """End the warden and reap it. What is still listed, it kills first."""
        if self._process is not None and self._listed:
            from subprocess import TimeoutExpired  # here for the reason given in _start

            os.close(self._pipe)
            self._pipe = -1
            try:
                self._process.wait(timeout=1)
            except TimeoutExpired:
                pass  # it hangs; there is nothing left to try
        self._dismiss()
        self._listed.clear()

    def _tell(self, ticket: int) -> None:
        """Say what is known of this ticket now, if need be to a new warden, who is told of all the others too."""
        if self._process is not None:
            try:
                os.write(self._pipe, self._line(ticket))  # shorter than PIPE_BUF: whole or not at all
            except (BrokenPipeError, BlockingIOError):  # dead; or stopped, and its pipe full
                self._dismiss()
        if self._process is None and self._listed:
            self._start()

    def _line(self, ticket: int) -> bytes:
        return f"{ticket} {self._listed.get(ticket, '')}\n".encode()

    def _start(self) -> None:
        import subprocess  # not above: the program starts without it, in half the time

        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable or "python3", "-I", "-S", os.path.abspath(__file__)],
                stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", start_new_session=True)  # keeps no directory busy, and hears nothing of the proxy's terminal
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        self._pipe = write_end
        try:
            for ticket in self._listed:
                os.write(write_end, self._line(ticket))
        except BrokenPipeError:
            self._dismiss()  # killed within its first milliseconds; the next child starts another
        else:
            os.set_blocking(write_end, False)

    def _dismiss(self) -> None:
        """Kill the warden, and only then close its pipe: one that is merely slow must not take the end of it for ours."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._pipe != -1:
            os.close(self._pipe)
            self._pipe = -1


def main() -> None:
    """The program: listen until the proxy has ended, then kill what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they mean the proxy; we go when it has gone
    listed: dict[bytes, list[int]] = {}
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            ticket, *child = line.split()
            if child:
                listed[ticket] = list(map(int, child))
            else:
                listed.pop(ticket, None)
    for leader, *_ in listed.values():
        if leader:
            kill_family(leader)
    for _ in range(AFTERMATH if listed else 0):
        kill_holders([inode for _, *pipes in listed.values() for inode in pipes])
        time.sleep(0.02)


if __name__ == "__main__":
    main()
