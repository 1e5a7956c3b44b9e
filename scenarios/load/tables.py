"""The page docs/speed.md, made from all results that are there.

In: results. Out: Markdown between two marks; what people wrote around the marks stays.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scenarios.load.load import Load
from scenarios.load.proxies import DIRECT, title
from scenarios.load.results import Result, Row

BEGIN, END = "<!-- figures: written by scenarios/load/bench.py -->", "<!-- end of figures -->"
PREFACE = """# Speed and memory

What shadowproxy costs, beside other proxies: every row of a table was taken in the same run, round by round in turn, and the median is shown.
Load and server have one CPU, the proxy has another. Servers are tiny C programs, so that what is measured is the proxy. CPU is user and
system time of the proxy's processes, children that are servers left out, divided by the requests answered; memory is PSS; both are read from /proc.

Believe ratios, not figures: machines differ, and the same machine differs from hour to hour.

    nox -s bench                  all loads; needs gcc, wrk and nginx (Debian: apt-get install gcc libc6-dev wrk nginx-light)
    nox -s bench -- http-json     one of them; `-- --help` tells the rest
    nox -s bench -- --long        the million requests and tapes of 2 GB, too
"""


def write(page: Path, results: Sequence[tuple[Load, Result]]) -> None:
    """Put the figures into the page; make it if there is none."""
    text = page.read_text() if page.exists() else f"{PREFACE}\n{BEGIN}\n{END}\n"
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    figures = "\n\n".join([_verdicts(results), *(_section(load, result) for load, result in results)])
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{rest.split(END, 1)[1]}")


def _verdicts(results: Sequence[tuple[Load, Result]]) -> str:
    lines = [(load.title, bound["says"], quantity(bound, "value"), _limit(bound), bound["verdict"]) for load, result in results for bound in result.bounds]
    return "## Bounds\n\n" + _table(("load", "bound", "measured", "at most", ""), lines)


def quantity(bound: dict[str, Any], name: str) -> str:
    """A bound's value or limit, with its unit."""
    if bound[name] is None:
        return "-"
    digits = ".3g" if bound[name] < 100 else ".0f"
    return f"{bound[name]:{digits}}{'' if bound['unit'] == 'x' else ' '}{bound['unit']}"


def _limit(bound: dict[str, Any]) -> str:
    return quantity(bound, "limit") + (f" (aim {quantity(bound, 'aim')})" if bound["aim"] is not None else "")


def _section(load: Load, result: Result) -> str:
    columns = load.columns
    titles = [load.at, "proxy", *(column.title + (f" (of {title(column.against)}'s)" if column.against else "") for column in columns)]
    noted = any(_note(row) for row in result.rows)
    lines = [[row.at, _bold(row), *_cells(load, result, row), *([_note(row)] if noted else [])] for row in _sorted(result.rows)]
    machine, versions = result.machine, ", ".join(f"{name} {result.versions[name]}" for name in _named(load, result))
    facts = (f"{result.started}, commit {result.commit}; {machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']},"
             f" load average before the run {machine['load_average']};"
             f" {result.settings['repeat']} rounds, windows of {result.settings['secs']:g} s, {result.settings['bytes']} bytes; {versions}.")  # fmt: skip
    return f"## {load.title}\n\n{load.about}\n\n{_table([*titles, *(['notes'] if noted else [])], lines)}\n\n    {result.command}\n\n{facts}"


def _named(load: Load, result: Result) -> Iterator[str]:
    """The versions that matter to this load."""
    measured = {row.proxy for row in result.rows}
    uninvolved = set(load.proxies) | {"envoy", "nginx", "fastmcp", "pypi-mcp-proxy", "npm-mcp-proxy", "supergateway"}
    for name in result.versions:
        if name in measured or name not in uninvolved:
            yield name


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """By what is in the first column, in the order in which it came."""
    order = list(dict.fromkeys(row.at for row in rows))
    return sorted(rows, key=lambda row: order.index(row.at))


def _bold(row: Row) -> str:
    return f"**{title(row.proxy)}**" if row.proxy == "shadowproxy" else title(row.proxy)


def _cells(load: Load, result: Result, row: Row) -> Iterator[str]:
    for column in load.columns:
        value = row.figure(column.figure)
        ratio = result.rows.ratio(row.proxy, column.against, row.at, column.figure) if column.against else None
        shown = ratio is not None and row.proxy not in (column.against, DIRECT)
        yield "-" if value is None else f"{value:.{column.digits}f}" + (f" ({ratio:.2f}x)" if shown else "")


def _note(row: Row) -> str:
    return row.error[:120].replace("|", "/") or (f"{row.errors} errors" if row.errors else "")


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [titles, ["---" if number < 2 else "---:" for number in range(len(titles))], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
