"""A reader that has had enough, as in `shadowproxy tape show TAPE | head -1`, is no error: no traceback, and the exit code that it would have been."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import PATIENCE, ROOT, SHADOWPROXY
from tapes import notification, request, response, write_tape

from shadowproxy.cli import exits

MANY = 3000
"""Lines: more than a pipe takes unread."""


def run(*words: str) -> int:
    """Read a line, and no more."""
    with subprocess.Popen([*SHADOWPROXY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == b""
        return program.wait(PATIENCE)


@pytest.mark.parametrize("words", [["show"], ["show", "--json"], ["show", "--full"]])
def test_show(words: list[str], tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.jsonl", (notification(n, "notifications/message", {"data": "x" * 200}) for n in range(1, MANY)))
    assert run("tape", words[0], str(path), *words[1:]) == exits.OK


@pytest.mark.parametrize("format", ["text", "json"])
def test_diff(format: str, tmp_path: Path) -> None:
    a, b = (write_tape(tmp_path / name, (request(n, f"{name}/{n}", id=n) for n in range(1, MANY))) for name in ("a.jsonl", "b.jsonl"))
    assert run("tape", "diff", str(a), str(b), "--format", format) == exits.OK


@pytest.mark.parametrize("words", [[], ["--json", "-"]])
def test_verify_goes_on_to_its_verdict(words: list[str], tmp_path: Path) -> None:
    """What goes to files is written whole."""
    frames = [frame for n in range(1, MANY, 2) for frame in (request(n, "x", id=n, session="s1"), response(n + 1, n, id=n, session="s1", result={"was": n}))]
    path, report = write_tape(tmp_path / "a.jsonl", frames), tmp_path / "report.xml"
    echo = "import sys, json\nfor line in sys.stdin:\n print(json.dumps({'jsonrpc': '2.0', 'id': json.loads(line)['id'], 'result': {}}), flush=True)"
    assert run("verify", str(path), *words, "--junit", str(report), "--", sys.executable, "-c", echo) == exits.DIFFERENT
    assert report.read_text().count("<testcase") == len(frames) / 2


def test_nobody_at_all(tmp_path: Path) -> None:
    there, back = os.pipe()
    os.close(there)
    path = write_tape(tmp_path / "a.jsonl", [request(1, "ping"), response(2, 1)])
    with os.fdopen(back, "wb") as closed:
        done = subprocess.run([*SHADOWPROXY, "tape", "stats", str(path), "--json"], stdout=closed, stderr=subprocess.PIPE, cwd=ROOT, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (exits.OK, b"")
    assert json.loads(path.read_text().splitlines()[0])
