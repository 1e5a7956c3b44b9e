"""The demo shows both eras and ends: by itself when asked to, by Ctrl-C otherwise."""
from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from programs import SHADOWPROXY, Program, until


def test_it_ends_by_itself() -> None:
    shown = subprocess.run([*SHADOWPROXY, "demo", "--once"], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stderr == ""
    for part in ("2026-07-28", "2025-11-25", '--> {"jsonrpc":"2.0","id":2,"method":"tools/call"', "<-- ", "notifications/progress", "initialize"):
        assert part in shown.stdout


async def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file, Program([*SHADOWPROXY, "demo"], env={"PYTHONUNBUFFERED": "1"}, stdout=file) as demo:
        await until(lambda: "Ctrl-C ends it" in out.read_text())
        assert "curl -s http://127.0.0.1:" in out.read_text()
        demo.signal(signal.SIGINT)
        await until(lambda: demo.ended)
        assert demo.status == 0
        await until(lambda: not demo.family())
