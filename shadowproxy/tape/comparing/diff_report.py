"""Reports of a diff of two tapes: findings and drift -> text for people, JSON, or Markdown for a comment on a change.

In: findings, one after the other, the tally that they fill, the drift. Out: text written to a stream of the caller's, who closes that. Keeps nothing;
Markdown shows `ROWS` findings at most, because nobody reads more of a comment.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TextIO

import msgspec

from shadowproxy.tape.comparing.drift_report import Format, cell, markdown_drift, text_drift
from shadowproxy.tape.comparing.schema_drift import Change
from shadowproxy.tape.terminal import Terminal
from shadowproxy.tape.verifying.report import TextReport, as_json, summary
from shadowproxy.tape.verifying.verdicts import Finding, Tally

ROWS: Final = 100
SHOWN: Final = 3
"""Differences of one exchange that a row of Markdown shows."""


def write_diff(findings: Iterable[Finding], tally: Tally, drift: Sequence[Change], format: Format, out: TextIO) -> None:
    """`tally` is complete when the findings are."""
    if format == "json":
        _json(findings, tally, drift, out)
    elif format == "markdown":
        _markdown(findings, tally, drift, out)
    else:
        report = TextReport(out)
        for finding in findings:
            report.finding(finding)
        report.end(tally)
        text_drift([("", drift)], Terminal(out))


def _json(findings: Iterable[Finding], tally: Tally, drift: Sequence[Change], out: TextIO) -> None:
    out.write('{"findings":[')
    out.writelines((",\n" if number else "\n") + msgspec.json.encode(as_json(finding)).decode() for number, finding in enumerate(findings))
    rest = {"counts": tally.counts, "lost": tally.lost, "drift": [change.as_json() for change in drift]}
    out.write("\n]," + msgspec.json.encode(rest).decode()[1:] + "\n")


def _markdown(findings: Iterable[Finding], tally: Tally, drift: Sequence[Change], out: TextIO) -> None:
    out.write("### Exchanges\n\n")
    shown = 0
    for finding in findings:
        if not shown:
            out.write("| verdict | exchange | where | differences |\n|---|---|---|---|\n")
        shown += 1
        if shown <= ROWS:
            out.write(_row(finding))
    if shown > ROWS:
        out.write(f"\n{shown - ROWS} more.\n")
    out.write(f"\n{summary(tally)}.\n\n{markdown_drift([('', drift)] if drift else [])}")


def _row(finding: Finding) -> str:
    texts = [finding.reason, *map(str, finding.differences[:SHOWN])]
    more = len(finding.differences) - SHOWN
    told = "<br>".join([*(cell(text) for text in texts if text), *([f"and {more} more"] if more > 0 else [])])
    return f"| {finding.verdict} | {cell(finding.label)} | {finding.place} | {told} |\n"
