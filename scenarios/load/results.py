"""What was measured, as rows, and as the file that keeps them.

In: rows of one load. Out: `results/LOAD.json`, which a later run of the same load replaces; the page is made from all of them.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Figures = dict[str, float]


@dataclass
class Row:
    """One proxy under one load. Each round gives a sample; `at` says how many connections, or what was held."""

    proxy: str
    at: str
    samples: list[Figures] = field(default_factory=list)
    error: str = ""

    @property
    def errors(self) -> int:
        """Requests that failed, in all rounds."""
        return sum(int(sample.get("errors", 0)) for sample in self.samples)

    def figure(self, name: str) -> float | None:
        """The median of the rounds."""
        values = [sample[name] for sample in self.samples if name in sample]
        return median(values) if values else None


class Rows(list[Row]):
    """All rows of a load, in the order in which they are shown."""

    def row(self, proxy: str, at: str) -> Row:
        """That row; made if there is none yet."""
        found = next((row for row in self if row.proxy == proxy and row.at == at), None)
        if found is None:
            found = Row(proxy, at)
            self.append(found)
        return found

    def figure(self, proxy: str, at: str, name: str) -> float | None:
        """Of a row without errors."""
        row = next((row for row in self if row.proxy == proxy and row.at == at), None)
        return None if row is None or row.error or row.errors else row.figure(name)

    def ratio(self, proxy: str, other: str, at: str, name: str) -> float | None:
        """One proxy's figure over another's: the median of the rounds' ratios, because what disturbs a round disturbs both."""
        if self.figure(proxy, at, name) is None or self.figure(other, at, name) is None:
            return None
        pairs = zip(self.row(proxy, at).samples, self.row(other, at).samples, strict=False)
        ratios = [mine[name] / theirs[name] for mine, theirs in pairs if theirs[name]]
        return median(ratios) if ratios else None


@dataclass
class Result:
    """One load of one run."""

    load: str
    command: str
    started: str
    commit: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: Rows
    bounds: list[dict[str, Any]] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.load}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path


def read(folder: Path, load: str) -> Result | None:
    """The last result of a load, if there is one of today's form."""
    path = folder / f"{load}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    try:
        document["rows"] = Rows(Row(**row) for row in document["rows"])
        return Result(**document)
    except (KeyError, TypeError):
        return None
