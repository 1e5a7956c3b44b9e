"""A tape is for jq too: each line that docs/tapes.md shows runs on one, and finds something."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conversations import conversation
from programs import PATIENCE, ROOT
from tapes import write_tape

PAGE = (ROOT / "docs" / "tapes.md").read_text()
LINES = [line.strip() for line in PAGE.split("### With jq", 1)[1].split("\n### ", 1)[0].splitlines() if line.startswith("    ")]
SHOW = next(line.strip() for line in PAGE.splitlines() if "| jq" in line and "tape show" in line)


@pytest.mark.parametrize("line", LINES)
def test_as_it_stands(line: str, tmp_path: Path) -> None:
    write_tape(tmp_path / "tape.jsonl", conversation())
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() not in ("", "null")


def test_after_tape_show(tmp_path: Path) -> None:
    import sys

    write_tape(tmp_path / "tape.jsonl", conversation())
    line = SHOW.replace("shadowproxy tape", f"{sys.executable} -m shadowproxy tape")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "slow\t0.7" in done.stdout
