"""Reports of a diff, in three forms."""
from __future__ import annotations

import io
import json
from typing import Any

from shadowproxy.tape.comparing.diff_report import ROWS, write_diff
from shadowproxy.tape.comparing.schema_drift import Change
from shadowproxy.tape.matching.jsondiff import Difference
from shadowproxy.tape.verifying.verdicts import Finding, Tally

CHANGED = Finding(verdict="CHANGED", label="tools/call a", n=3, other=1, differences=tuple(Difference(f"/result/{n}", n, "b|`") for n in range(5)))
MISSING = Finding(verdict="MISSING", label="<- [bold]x", n=5)
DRIFT = [Change("breaking", "tool t", "", "removed")]


def written(format: Any, *findings: Finding, drift: Any = DRIFT) -> str:
    out, tally = io.StringIO(), Tally()
    for finding in findings:
        tally.counts[finding.verdict] += 1
    write_diff(findings, tally, drift, format, out)
    return out.getvalue()


def test_text() -> None:
    lines = written("text", CHANGED, MISSING).splitlines()
    assert lines[0] == "CHANGED             tools/call a  (frame 3, frame of the other 1)"
    assert lines[1] == '    /result/0: 0 -> "b|`"'
    assert lines[6:] == ["MISSING             <- [bold]x  (frame 5)", "1 CHANGED, 1 MISSING", "breaking  tool t: removed", "drift: 1 breaking"]


def test_json() -> None:
    found = json.loads(written("json", CHANGED, MISSING))
    assert [finding["verdict"] for finding in found["findings"]] == ["CHANGED", "MISSING"]
    assert (found["counts"]["CHANGED"], found["drift"][0]["what"]) == (1, "removed")
    assert json.loads(written("json", drift=[]))["findings"] == []


def test_markdown() -> None:
    text = written("markdown", CHANGED, MISSING)
    assert "| CHANGED | `tools/call a` | frame 3, frame of the other 1 | ``/result/0: 0 -> \"b\\|`\"``<br>" in text
    assert "<br>and 2 more |" in text
    assert "| **breaking** | `tool t` |" in text
    assert written("markdown", *[MISSING] * (ROWS + 3), drift=[]).count("| MISSING |") == ROWS
    assert "\n3 more.\n" in written("markdown", *[MISSING] * (ROWS + 3))
    assert "| verdict |" not in written("markdown", drift=[])
