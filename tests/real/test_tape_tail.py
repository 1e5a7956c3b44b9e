"""`shadowproxy tape tail` as a user runs it: rows come as a proxy records them, of a file and of a directory, until Ctrl-C, which is no error."""
from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from programs import PATIENCE, ROOT, SHADOWPROXY
from tapes import request, response, write_tape

from shadowproxy.tape.frame import encode_frames


def _hear_interrupts() -> None:
    """Where the tests run in the background, a shell has them ignore SIGINT, and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Tail:
    """The running command; `line` waits for one."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen([*SHADOWPROXY, "tape", "tail", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, preexec_fn=_hear_interrupts)
        self._data = b""

    def line(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._data:
            assert select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0], "nothing came"
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            assert more, "it ended"
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        return line.decode()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=PATIENCE)
        assert err == b""
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("directory", [True, False])
def test_until_interrupted(directory: bool, tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.jsonl", [request(1, "tools/call", {"name": "echo"}), request(2, "ping", id=2)])
    tail = Tail(str(tmp_path if directory else path), "tool:echo", "--json")
    try:
        assert json.loads(tail.line())["frame"]["n"] == 1
        with path.open("ab") as file:
            file.write(encode_frames([response(3, 2, id=2), response(4, 1)]))
        assert json.loads(tail.line())["frame"]["n"] == 4
        if directory:
            write_tape(tmp_path / "b.jsonl", [request(1, "tools/call", {"name": "echo", "arguments": {"text": "new"}})])
            assert json.loads(tail.line())["frame"]["message"]["params"]["arguments"] == {"text": "new"}
        assert tail.interrupt() == 0
    finally:
        tail.close()


def test_a_directory_names_its_tapes(tmp_path: Path) -> None:
    write_tape(tmp_path / "a.jsonl", [request(n, "ping") for n in range(1, 6)])
    tail = Tail(str(tmp_path), "--last", "2")
    try:
        assert tail.line() == "== a.jsonl"
        assert [tail.line().split()[0] for _ in range(2)] == ["0.400", "0.500"]
        write_tape(tmp_path / "b.jsonl", [request(1, "ping")])
        assert [tail.line(), tail.line()] == ["", "== b.jsonl"]
        assert tail.interrupt() == 0
    finally:
        tail.close()
