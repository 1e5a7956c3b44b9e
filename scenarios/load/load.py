"""What every load has: a name, the proxies it is put through, the columns of its table.

In: a rig. Out: rows, filled round by round, so that what disturbs the machine disturbs all proxies alike. A proxy that fails has its row say why.
"""
from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scenarios.load.plan import BenchError
from scenarios.load.proxies import Proxy, title
from scenarios.load.results import Figures, Row, Rows
from scenarios.load.rig import Rig

CURVE = "mb_after_"
"""What the names of figures begin with that are kept, but not shown."""


@dataclass(frozen=True)
class Column:
    """A figure of a row; beside it, if `against` names another row, its ratio to that one's."""

    title: str
    figure: str
    digits: int = 0
    against: str | None = None


class Load(Protocol):
    """`about` says what is measured, for the page; `at` is the title of the column that tells rows of one proxy apart."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def proxies(self) -> dict[str, Proxy]: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...

    def run(self, rig: Rig) -> Rows: ...


def take(row: Row, measure: Callable[[], Figures]) -> None:
    """One more sample for `row`, unless it has failed before; told as soon as it is there."""
    if row.error:
        return
    try:
        sample = measure()
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        row.error = without_folders(" ".join(str(error).split()))[:500]
        return say(f"  {row.at:>20}  {title(row.proxy):16} FAILED {row.error}")
    row.samples.append(sample)
    say(f"  {row.at:>20}  {title(row.proxy):16} {'  '.join(f'{name} {value:.5g}' for name, value in sample.items() if not name.startswith(CURVE))}")


def without_folders(text: str) -> str:
    """Programs like to name files by their whole paths, which are nobody's business in a result."""
    return re.sub(r"(?<![^\s\"'(])/\S*/", "", text)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
