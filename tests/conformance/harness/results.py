"""What a run of the suite amounts to: checks passed and failed by scenario, and what one run lost against another.

In come the folders the suite has written, out go plain values; nothing is kept.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Check = tuple[str, str]
"""A check's id and name. Ids repeat in a scenario, and so do, in loops, whole pairs."""

_STAMP: Final = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Scenario:
    """One scenario's outcome."""

    passed: Counter[Check] = field(default_factory=Counter)
    failed: Counter[Check] = field(default_factory=Counter)
    remarks: dict[Check, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether anything was checked, and nothing failed."""
        return bool(self.passed) and not self.failed

    def remark(self, check: Check) -> str:
        """What the suite says of a check that did not pass; when it never came to it, it may use another name."""
        alike = (words for (identity, _), words in self.remarks.items() if identity == check[0])
        return self.remarks.get(check) or next(alike, "not reached")


Results = dict[str, Scenario]


@dataclass(frozen=True)
class Figures:
    """Sums over all scenarios of a run."""

    checks: int
    of_checks: int
    scenarios: int
    of_scenarios: int


@dataclass(frozen=True)
class Lost:
    """A check that passes directly and doesn't here, or fails here only."""

    scenario: str
    check: Check
    remark: str


def _read(folder: Path) -> Scenario:
    found = Scenario()
    file = folder / "checks.json"
    if not file.exists():
        found.failed["no-result", "NoResult"] += 1
        found.remarks["no-result", "NoResult"] = "the suite broke off the scenario"
        return found
    for entry in json.loads(file.read_text()):
        check = (entry["id"], entry["name"])
        if entry["status"] == "SUCCESS":
            found.passed[check] += 1
            continue
        if entry["status"] == "FAILURE":
            found.failed[check] += 1
        found.remarks[check] = f"{entry['status']}: {entry.get('errorMessage') or entry['description']}"
    return found


def load(out: Path, prefix: str = "") -> Results:
    """All scenarios in a folder of the suite's; it puts a prefix before the names of server scenarios."""
    folders = sorted(folder for folder in out.iterdir() if folder.is_dir())
    return {_STAMP.sub("", folder.name).removeprefix(prefix): _read(folder) for folder in folders}


def add_up(results: Results) -> Figures:
    """The sums; a check counts if it passed or failed, as the suite counts."""
    passed = sum(scenario.passed.total() for scenario in results.values())
    failed = sum(scenario.failed.total() for scenario in results.values())
    held = sum(scenario.ok for scenario in results.values())
    return Figures(passed, passed + failed, held, len(results))


def compare(direct: Results, here: Results) -> list[Lost]:
    """Every check that passes directly and not here, occurrence by occurrence, and every failure direct runs lack."""
    lost: list[Lost] = []
    for name, scenario in direct.items():
        other = here.get(name, Scenario())
        missing = scenario.passed - other.passed
        # What passes directly and fails here is missing already.
        missing += other.failed - scenario.failed - scenario.passed
        lost += [Lost(name, check, other.remark(check)) for check in missing.elements()]
    return lost


def unmet(results: Results) -> list[Lost]:
    """Every check that failed, for a run that has none to be compared with."""
    return [
        Lost(name, check, scenario.remark(check))
        for name, scenario in results.items()
        for check in scenario.failed.elements()
    ]
